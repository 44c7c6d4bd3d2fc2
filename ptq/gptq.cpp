#include "ptq/gptq.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <vector>

#include "core/error.h"
#include "model/rows.h"
#include "ptq/gptq_solver.h"

namespace spq::ptq {
namespace {

// The group of each column, in the order of quantization.
std::vector<int64_t> groups_in_order(const HessianFactor& factor, const WeightQuantSpec& spec,
                                     bool static_groups, int64_t columns) {
  std::vector<int64_t> groups(static_cast<size_t>(columns), 0);
  if (spec.group_size < 0) return groups;
  const bool by_column = static_groups && factor.permutation.defined();
  for (int64_t k = 0; k < columns; ++k) {
    const int64_t column = by_column ? factor.permutation.const_data_ptr<int64_t>()[k] : k;
    groups[static_cast<size_t>(k)] = column / spec.group_size;
  }
  return groups;
}

// Ranges known before the first column; for other groups room to put them.
QuantParams initial_params(const at::Tensor& given, const at::Tensor& alive, const WeightQuantSpec& spec,
                           const GptqOptions& options, std::string_view name) {
  if (spec.group_size < 0) return find_params(given, spec, name);
  if (options.static_groups) return find_params(alive, spec, name);
  const int64_t groups = given.size(1) / spec.group_size;
  return {at::zeros({given.size(0), groups}), at::zeros({given.size(0), groups})};
}

// By way of a buffer: a cache line of either matrix is touched once, and rows whose distance is a power of
// two, which share a place in the cache, do not push one another out.
template <class T>
void transpose(const void* from, void* to, int64_t rows, int64_t columns) {
  constexpr int64_t kTile = 32;
  const T* in = static_cast<const T*>(from);
  T* out = static_cast<T*>(to);
  model::for_rows((rows + kTile - 1) / kTile, kTile * columns, [&](int64_t first, int64_t last) {
    T buffer[kTile][kTile];
    for (int64_t r0 = first * kTile; r0 < std::min(last * kTile, rows); r0 += kTile) {
      const int64_t height = std::min(kTile, rows - r0);
      for (int64_t c0 = 0; c0 < columns; c0 += kTile) {
        const int64_t width = std::min(kTile, columns - c0);
        for (int64_t r = 0; r < height; ++r) std::copy_n(in + (r0 + r) * columns + c0, width, buffer[r]);
        for (int64_t c = 0; c < width; ++c) {
          T* column = out + (c0 + c) * rows + r0;
          for (int64_t r = 0; r < height; ++r) column[r] = buffer[r][c];
        }
      }
    }
  });
}

// m^T as a matrix of its own, from all threads, which the library's copy does not use.
at::Tensor transposed_copy(const at::Tensor& m) {
  SPQ_ASSERT(m.is_contiguous());
  at::Tensor result = at::empty({m.size(1), m.size(0)}, m.options());
  const auto run = [&]<class T>(T) {
    transpose<T>(m.const_data_ptr(), result.mutable_data_ptr(), m.size(0), m.size(1));
  };
  switch (m.element_size()) {
    case 1:
      run(uint8_t());
      break;
    case 2:
      run(uint16_t());
      break;
    default:
      SPQ_ASSERT(m.element_size() == 4);
      run(uint32_t());
  }
  return result;
}

}  // namespace

GptqResult quantize_gptq(const at::Tensor& weight, const HessianFactor& factor, const WeightQuantSpec& spec,
                         const GptqOptions& options, std::string_view name) {
  const at::Tensor given = finite_matrix(weight, name);
  const int64_t columns = given.size(1);
  check_spec(spec, columns, name);
  check(options.block_size >= 1, "{}: block size {}, expected 1 or more", name, options.block_size);
  check(factor.feedback.size(0) == columns, "{}: {} columns, but calibration inputs of {}", name, columns,
        factor.feedback.size(0));

  const bool any_dead = factor.dead.any().item<bool>();
  const at::Tensor alive = any_dead ? given.masked_fill(factor.dead, 0) : given;
  const QuantParams params = initial_params(given, alive, spec, options, name);
  const std::vector<int64_t> groups = groups_in_order(factor, spec, options.static_groups, columns);
  at::Tensor group_index = at::empty({columns}, at::kLong);
  std::copy(groups.begin(), groups.end(), group_index.mutable_data_ptr<int64_t>());

  at::Tensor work = transposed_copy(alive);
  if (factor.permutation.defined()) work = work.index_select(0, factor.permutation);
  GptqSolver solver(std::move(work), factor, params, groups, spec, options);
  solver.run();
  check_scales(solver.params().scale, spec, name);

  at::Tensor codes = solver.codes();
  at::Tensor quantized = solver.quantized();
  if (factor.permutation.defined()) {
    const at::Tensor inverse = factor.permutation.argsort();
    codes = codes.index_select(0, inverse);
    quantized = quantized.index_select(0, inverse);
    group_index = group_index.index_select(0, inverse);
  }
  // scale (code - zero) in fp32, rounded to the weight's dtype, as dequantize() computes it.
  return {{transposed_copy(codes), solver.params().scale.to(spec.scale_dtype), solver.params().zero},
          group_index,
          transposed_copy(quantized.to(weight.scalar_type()))};
}

}  // namespace spq::ptq
