// Rotations and checkpoints to write and read back.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "data/checkpoint.h"

namespace spq::data {

/// An orthogonal matrix that follows from `seed`.
at::Tensor random_orthogonal(int64_t size, uint64_t seed);

Rotations random_rotations(int64_t hidden_size, int64_t num_layers, int64_t head_dim, uint64_t seed);

/// hidden 8, 2 layers, head_dim 4, with momentum.
Checkpoint example_checkpoint();

bool same_bits(const Rotations& a, const Rotations& b);
bool same(const Checkpoint& a, const Checkpoint& b);

}  // namespace spq::data
