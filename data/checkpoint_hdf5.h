// The HDF5 part of a checkpoint, inside the seal (docs/checkpoint_format.md).
#pragma once

#include <filesystem>
#include <string>

#include "data/checkpoint.h"

namespace spq::data {

/// The bytes of the file, kSealSize of them left free at the start. `path` is named in errors. Shapes, types
/// and finiteness are checked; orthogonality is not: the caller has just computed these rotations, and
/// reading checks it.
std::string checkpoint_image(const Checkpoint& checkpoint, const std::filesystem::path& path);

/// Reads a file whose seal has been checked. Errors as read_checkpoint().
Checkpoint read_checkpoint_hdf5(const std::filesystem::path& path);

}  // namespace spq::data
