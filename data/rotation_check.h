// What every set of rotations has to satisfy before it is used.
#pragma once

#include <cstdint>
#include <string>

#include "data/rotations.h"

namespace spq::data {

/// Error starting with `place` unless r1 is fp32 [hidden_size, hidden_size], r2 holds num_layers of fp32
/// [head_dim, head_dim], and every number is finite.
void check_rotation_shapes(const Rotations& rotations, int64_t hidden_size, int64_t num_layers,
                           int64_t head_dim, const std::string& place);

/// Error naming `place`, the rotation and the largest |R^T R - I| when that is above 1e-3.
void check_orthogonal(const Rotations& rotations, const std::string& place);

/// "R1" and "R2 of layer i", for messages.
std::string r2_name(size_t layer);

}  // namespace spq::data
