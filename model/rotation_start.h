// Where rotations start: random-sign Hadamard, random orthogonal, identity. Functions of the seed alone.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace spq::model {

/// diag(random signs) H^T / sqrt(n) [n, n] fp32: the transform of each row of diag(random signs). H as in kernels/hadamard.h (block-diagonal where n has no
/// Hadamard matrix). `stream` tells rotations of one seed apart (0: R1, 1 + layer: R2).
at::Tensor random_hadamard(int64_t n, int64_t seed, int64_t stream);

/// Uniformly random orthogonal matrix [n, n] fp32: the Q of a Gaussian's QR in double, with diag(R) > 0.
at::Tensor random_orthogonal(int64_t n, int64_t seed, int64_t stream);

at::Tensor identity_rotation(int64_t n);

}  // namespace spq::model
