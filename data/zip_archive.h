// Zip archives as torch.save writes them, with their checksums compared (LibTorch's reader does not).
#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <span>
#include <string>

#include "data/mapped_file.h"

namespace spq::data {

class ZipArchive {
 public:
  /// Error naming the file unless it is a zip archive of uncompressed entries with different names, below 4
  /// GiB, in which every entry has the CRC-32 that the archive's directory notes for it.
  explicit ZipArchive(const std::filesystem::path& path);

  size_t size() const { return file_.size(); }  // of the file
  /// Name -> content.
  const std::map<std::string, std::span<const std::byte>>& entries() const { return entries_; }

 private:
  MappedFile file_;
  std::map<std::string, std::span<const std::byte>> entries_;
};

}  // namespace spq::data
