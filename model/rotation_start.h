// Where rotations start: random-sign Hadamard, random orthogonal, identity. Functions of the seed alone.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

#include "data/llama_config.h"
#include "data/rotations.h"

namespace spq::model {

/// diag(random signs) H^T / sqrt(n) [n, n] fp32: the transform of each row of diag(random signs). H as in
/// kernels/hadamard.h (block-diagonal where n has no Hadamard matrix). `stream` tells rotations of one seed
/// apart (0: R1, 1 + layer: R2).
at::Tensor random_hadamard(int64_t n, int64_t seed, int64_t stream);

/// Uniformly random orthogonal matrix [n, n] fp32: the Q of a Gaussian's QR in double, with diag(R) > 0.
at::Tensor random_orthogonal(int64_t n, int64_t seed, int64_t stream);

at::Tensor identity_rotation(int64_t n);

enum class RotationSource { kHadamard, kRandom, kIdentity, kFile };

/// R1 and every R2 of a model, each from its source; `file` (a checkpoint or R.bin) is read where one of them
/// is kFile. Error naming the file when it cannot be read or does not fit the model.
data::Rotations make_rotations(RotationSource r1, RotationSource r2, int64_t seed, const std::string& file,
                               const data::LlamaConfig& config);

}  // namespace spq::model
