// Torch archives in pieces: zip entries whose directory may lie, pickle programs as lists of operations.
#pragma once

#include <string>
#include <vector>

#include "random.h"

namespace spq::fuzz {

struct ZipEntry {
  std::string name;
  std::string data;
};

/// The entries of a zip archive of stored entries that is known to be good.
std::vector<ZipEntry> zip_entries(const std::string& archive);

/// An archive with right checksums; with `lies`, one to three numbers of its headers are wrong.
std::string build_zip(const std::vector<ZipEntry>& entries, bool lies, Random& random);

/// The operations of a pickle program of protocol 2 with their arguments, one string each. The rest of a
/// program that is not understood is one last string.
std::vector<std::string> pickle_operations(const std::string& program);

/// One to four operations deleted, repeated, moved, replaced by any other, or given another argument.
std::string mutate_pickle(const std::string& program, Random& random);

}  // namespace spq::fuzz
