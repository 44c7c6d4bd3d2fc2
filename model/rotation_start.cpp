#include "model/rotation_start.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/linalg_qr.h>
#include <ATen/ops/zeros.h>

#include <cmath>
#include <numbers>
#include <random>

#include "core/error.h"
#include "data/rotation_file.h"
#include "kernels/hadamard.h"

namespace spq::model {
namespace {

// The engine's numbers are fixed by the C++ standard; the standard distributions are not, so none is used.
std::mt19937_64 make_engine(int64_t seed, int64_t stream) {
  const auto low = [](int64_t v) { return static_cast<uint32_t>(v & 0xffffffff); };
  const auto high = [](int64_t v) { return static_cast<uint32_t>(static_cast<uint64_t>(v) >> 32); };
  std::seed_seq sequence{low(seed), high(seed), low(stream), high(stream)};
  return std::mt19937_64(sequence);
}

double uniform(std::mt19937_64& engine) {  // (0, 1]
  return (static_cast<double>(engine() >> 11) + 1.0) * 0x1p-53;
}

}  // namespace

at::Tensor random_hadamard(int64_t n, int64_t seed, int64_t stream) {
  std::mt19937_64 engine = make_engine(seed, stream);
  at::Tensor signs = at::zeros({n, n}, at::kDouble);
  double* data = signs.data_ptr<double>();
  for (int64_t i = 0; i < n; ++i) data[i * n + i] = engine() >> 63 ? 1.0 : -1.0;
  kernels::hadamard_rows(data, data, n, kernels::plan_hadamard(n), kernels::HadamardDirection::kForward);
  return signs.to(at::kFloat);
}

at::Tensor random_orthogonal(int64_t n, int64_t seed, int64_t stream) {
  std::mt19937_64 engine = make_engine(seed, stream);
  at::Tensor gaussian = at::empty({n, n}, at::kDouble);
  double* data = gaussian.data_ptr<double>();
  for (int64_t i = 0; i < n * n; ++i) {  // Box-Muller, one value a pair
    const double radius = std::sqrt(-2.0 * std::log(uniform(engine)));
    data[i] = radius * std::cos(2.0 * std::numbers::pi * uniform(engine));
  }
  auto [q, r] = at::linalg_qr(gaussian);
  return q.mul(r.diagonal().sign()).to(at::kFloat).contiguous();
}

at::Tensor identity_rotation(int64_t n) {
  return at::eye(n, at::kFloat);
}

data::Rotations make_rotations(RotationSource r1, RotationSource r2, int64_t seed, const std::string& file,
                               const data::LlamaConfig& config) {
  data::Rotations read;
  if (r1 == RotationSource::kFile || r2 == RotationSource::kFile) {
    read = data::read_rotations(file, config.hidden_size, config.num_layers, config.head_dim);
  }
  const auto make = [&](RotationSource source, int64_t n, int64_t stream, const at::Tensor& from_file) {
    switch (source) {
      case RotationSource::kHadamard:
        return random_hadamard(n, seed, stream);
      case RotationSource::kRandom:
        return random_orthogonal(n, seed, stream);
      case RotationSource::kIdentity:
        return identity_rotation(n);
      case RotationSource::kFile:
        return from_file;
    }
    fail("unknown source of a rotation");
  };
  data::Rotations result;
  result.r1 = make(r1, config.hidden_size, /*stream=*/0, read.r1);
  for (int64_t l = 0; l < config.num_layers; ++l) {
    const at::Tensor from_file = read.r2.empty() ? at::Tensor() : read.r2[static_cast<size_t>(l)];
    result.r2.push_back(make(r2, config.head_dim, 1 + l, from_file));
  }
  return result;
}

}  // namespace spq::model
