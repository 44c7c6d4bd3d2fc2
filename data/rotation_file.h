// Rotations from and to files: our HDF5 checkpoints and the reference's R.bin.
#pragma once

#include <filesystem>

#include "data/rotations.h"

namespace spq::data {

/// Reads the rotations of a spq checkpoint (.h5) or of an R.bin (torch zip archive: "R1",
/// "model.layers.{i}.self_attn.R2"; any floating dtype, any saved device), told apart by their first bytes.
/// fp32 copies. Error naming `path` on anything else, on shapes other than [hidden, hidden] and num_layers of
/// [head_dim, head_dim], non-finite or non-orthogonal matrices.
Rotations read_rotations(const std::filesystem::path& path, int64_t hidden_size, int64_t num_layers,
                         int64_t head_dim);

/// Writes the reference's R.bin (a plain dict that Python's torch.load(weights_only=True) reads), atomically.
void write_rbin(const std::filesystem::path& path, const Rotations& rotations);

}  // namespace spq::data
