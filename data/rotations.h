// The learned object: R1 and one R2 per layer.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

namespace spq::data {

/// Row-vector convention: a rotated residual row is x R1, a rotated head row is v R2 (design.md 1, formats
/// (d)).
struct Rotations {
  at::Tensor r1;               // [hidden, hidden] fp32, orthogonal
  std::vector<at::Tensor> r2;  // per layer [head_dim, head_dim] fp32, orthogonal
};

}  // namespace spq::data
