#include "model/rope_table.h"

#include <ATen/ops/empty.h>

#include <cmath>
#include <numbers>
#include <vector>

#include "kernels/rope.h"
#include "model/device.h"
#include "model/rows.h"

namespace spq::model {
namespace {

double llama3_frequency(double f, const data::RopeConfig& rope) {
  const double wavelength = 2.0 * std::numbers::pi / f;
  const double original = static_cast<double>(rope.original_max_position);
  if (wavelength < original / rope.high_freq_factor) return f;
  if (wavelength > original / rope.low_freq_factor) return f / rope.factor;
  const double s =
      (original / wavelength - rope.low_freq_factor) / (rope.high_freq_factor - rope.low_freq_factor);
  return (1.0 - s) * f / rope.factor + s * f;
}

template <class A>
void fill(RopeTable& table, const std::vector<double>& frequencies) {
  const int64_t positions = table.cos.size(0);
  A* cos = table.cos.data_ptr<A>();
  A* sin = table.sin.data_ptr<A>();
  for (int64_t p = 0; p < positions; ++p) {
    for (double f : frequencies) {
      const A angle = static_cast<A>(p) * static_cast<A>(f);
      *cos++ = std::cos(angle);
      *sin++ = std::sin(angle);
    }
  }
}

}  // namespace

std::vector<double> rope_frequencies(const data::LlamaConfig& config) {
  const data::RopeConfig& rope = config.rope;
  std::vector<double> frequencies;
  for (int64_t j = 0; j < config.head_dim / 2; ++j) {
    const double exponent = -2.0 * static_cast<double>(j) / static_cast<double>(config.head_dim);
    const double f = std::pow(rope.theta, exponent);
    switch (rope.scaling) {
      case data::RopeConfig::Scaling::kNone:
        frequencies.push_back(f);
        break;
      case data::RopeConfig::Scaling::kLinear:
        frequencies.push_back(f / rope.factor);
        break;
      case data::RopeConfig::Scaling::kLlama3:
        frequencies.push_back(llama3_frequency(f, rope));
        break;
    }
  }
  return frequencies;
}

RopeTable make_rope_table(const data::LlamaConfig& config, int64_t positions, at::ScalarType dtype) {
  const std::vector<double> frequencies = rope_frequencies(config);
  const std::vector<int64_t> shape = {positions, config.head_dim / 2};
  RopeTable table{at::empty(shape, dtype), at::empty(shape, dtype)};
  if (dtype == at::kDouble) {
    fill<double>(table, frequencies);
  } else {
    fill<float>(table, frequencies);
  }
  return table;
}

RopeTable RopeTable::on(c10::Device device) const {
  return {cos.to(device), sin.to(device)};
}

void apply_rope(at::Tensor& x, const RopeTable& table, bool inverse) {
  const int64_t positions = table.cos.size(0);
  const int64_t heads = x.size(1);
  const int64_t head_dim = x.size(2);
  SPQ_ASSERT(x.size(0) % positions == 0);
  const auto direction = inverse ? kernels::RopeDirection::kInverse : kernels::RopeDirection::kForward;
  if (const auto target = block_target(x)) {
    return dispatch_block_dtype(x.scalar_type(), [&]<class T>(T*) {
      const int64_t sequence = positions * heads * head_dim;
      for (int64_t at = 0; at < x.numel(); at += sequence) {
        kernels::blocks::rope_rows<T>(*target, row_data<T>(x) + at, row_data<float>(table.cos),
                                      row_data<float>(table.sin), positions, heads, head_dim, direction);
      }
    });
  }
  dispatch_dtype(x.scalar_type(), [&]<class T>(T*) {
    using A = kernels::Accumulate<T>;
    T* data = row_data<T>(x);
    const A* cos = row_data<A>(table.cos);
    const A* sin = row_data<A>(table.sin);
    for_rows(x.size(0), heads * head_dim, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) {
        const int64_t at = (t % positions) * (head_dim / 2);
        kernels::rope_rows(data + t * heads * head_dim, cos + at, sin + at, 1, heads, head_dim, direction);
      }
    });
  });
}

}  // namespace spq::model
