// The rotations a run starts from.
#pragma once

#include <string>

#include "data/llama_config.h"
#include "data/rotations.h"
#include "trainer/config.h"
#include "trainer/moments.h"

namespace spq::trainer {

Learned learned_rotations(const RotationConfig& config);

/// R1 and every R2 as rotation.r1, rotation.r2, rotation.start, rotation.seed and rotation.file say. Error
/// naming the file on an unreadable or unfitting rotation file.
data::Rotations start_rotations(const RotationConfig& config, const data::LlamaConfig& model);

/// A copy of `rotations` on `device`; the same tensors where they are there already.
data::Rotations on_device(const data::Rotations& rotations, c10::Device device);

/// Zeros in the shapes of `rotations`.
data::Rotations zero_momentum(const data::Rotations& rotations);

/// SHA-256 (hex) of the bits of all rotations: equal on all ranks, at every step.
std::string rotation_hash(const data::Rotations& rotations);

}  // namespace spq::trainer
