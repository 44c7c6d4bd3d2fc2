// Checkpoints and finished rotations: one HDF5 format (docs/checkpoint_format.md).
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "data/rotations.h"

namespace spq::data {

/// All that a run needs to go on, and all that the PTQ stage needs to use the rotations.
struct Checkpoint {
  Rotations rotations;
  std::optional<Rotations> momentum;  // skew matrices [n, n] of the same shapes; absent when momentum is off
  int64_t step = 0;                   // steps done
  int64_t next_sequence = 0;          // index of the next training sequence in the data order
  int64_t seed = 0;                   // data.seed: the data order follows from it and the step
  int world_size = 1;                 // of the run that wrote it
  std::string config_yaml;            // the full resolved configuration
  std::string model_fingerprint;
  std::map<std::string, std::string> versions;  // library name -> version
};

/// Writes to a temporary name in the same folder, flushes to disk, renames, flushes the folder: `path` is
/// always absent, the old file or the new file, whole. Every dataset carries a SHA-256 of its bytes beside
/// HDF5's own Fletcher32, and the attributes together carry one too. Error naming `path` when the folder
/// cannot be written or the disk is full; the temporary file is removed then.
void write_checkpoint(const std::filesystem::path& path, const Checkpoint& checkpoint);

/// Error naming `path` and what is wrong on: missing, not HDF5, not a spq checkpoint, newer or unknown
/// version, missing member, wrong shape or type, damaged (checksum), non-finite or non-orthogonal rotation
/// (max |R^T R - I| > 1e-3).
Checkpoint read_checkpoint(const std::filesystem::path& path);

/// checkpoint-<step>.h5 files in `folder`, newest first. Other names, temporary ones included, are ignored.
std::vector<std::filesystem::path> list_checkpoints(const std::filesystem::path& folder);
std::filesystem::path checkpoint_path(const std::filesystem::path& folder, int64_t step);

/// Removes all but the newest `keep` checkpoints of `folder`.
void prune_checkpoints(const std::filesystem::path& folder, int64_t keep);

}  // namespace spq::data
