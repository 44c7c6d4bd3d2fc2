#include "data/rotation_check.h"

#include <ATen/ops/abs.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/max.h>
#include <ATen/ops/mm.h>
#include <algorithm>
#include <array>

#include "core/error.h"
#include "data/shape_text.h"

namespace spq::data {
namespace {

constexpr double kMaxError = 1e-3;
constexpr int64_t kBlock = 1024;  // rows of R^T R at a time: never a second matrix as large as R1

/// max |R^T R - I|; NaN when R holds one.
double orthogonality_error(const at::Tensor& rotation) {
  const int64_t size = rotation.size(0);
  double error = 0.0;
  for (int64_t begin = 0; begin < size; begin += kBlock) {
    const int64_t rows = std::min(kBlock, size - begin);
    at::Tensor product = at::mm(rotation.narrow(1, begin, rows).t(), rotation);
    product.narrow(1, begin, rows).diagonal().sub_(1.0);
    const double block_error = product.abs().max().item<double>();
    if (!(block_error <= error)) error = block_error;
  }
  return error;
}

void check_matrix(const at::Tensor& matrix, int64_t size, const std::string& name, const std::string& place) {
  const std::array<int64_t, 2> expected{size, size};
  check(matrix.defined() && matrix.scalar_type() == at::kFloat, "{}: {} is not fp32", place, name);
  check(matrix.sizes() == at::IntArrayRef(expected), "{}: {} has shape {}, expected {}", place, name,
        shape_text(matrix.sizes()), shape_text(expected));
  check(at::isfinite(matrix).all().item<bool>(), "{}: {} holds numbers that are not finite", place, name);
}

void check_one(const at::Tensor& rotation, const std::string& name, const std::string& place) {
  const double error = orthogonality_error(rotation);
  check(error <= kMaxError, "{}: {} is not orthogonal: max |R^T R - I| is {:.3g}, expected at most {}", place,
        name, error, kMaxError);
}

}  // namespace

std::string r2_name(size_t layer) {
  return fmt::format("R2 of layer {}", layer);
}

void check_rotation_shapes(const Rotations& rotations, int64_t hidden_size, int64_t num_layers,
                           int64_t head_dim, const std::string& place) {
  check_matrix(rotations.r1, hidden_size, "R1", place);
  check(std::ssize(rotations.r2) == num_layers, "{}: holds R2 of {} layers, expected {}", place,
        rotations.r2.size(), num_layers);
  for (size_t i = 0; i < rotations.r2.size(); ++i) check_matrix(rotations.r2[i], head_dim, r2_name(i), place);
}

void check_orthogonal(const Rotations& rotations, const std::string& place) {
  check_one(rotations.r1, "R1", place);
  for (size_t i = 0; i < rotations.r2.size(); ++i) check_one(rotations.r2[i], r2_name(i), place);
}

}  // namespace spq::data
