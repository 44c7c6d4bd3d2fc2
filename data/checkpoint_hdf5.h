// The HDF5 part of a checkpoint, inside the seal (docs/checkpoint_format.md).
#pragma once

#include <filesystem>

#include "data/checkpoint.h"

namespace spq::data {

/// Writes `file`, leaving kSealSize bytes free at its start. `path` is named in errors. Shapes, types and
/// finiteness are checked; orthogonality is not: the caller has just computed these rotations, and reading
/// checks it.
void write_checkpoint_hdf5(const std::filesystem::path& file, const Checkpoint& checkpoint,
                           const std::filesystem::path& path);

/// Reads a file whose seal has been checked. Errors as read_checkpoint().
Checkpoint read_checkpoint_hdf5(const std::filesystem::path& path);

}  // namespace spq::data
