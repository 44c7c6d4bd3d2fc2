// The checksums of a zip archive, which LibTorch's reader does not compare.
#pragma once

#include <filesystem>

namespace spq::data {

/// Error naming the file unless it is a zip archive of uncompressed entries, as torch.save writes, below 4
/// GiB, in which every entry has the CRC-32 that the archive's directory notes for it.
void check_zip_checksums(const std::filesystem::path& path);

}  // namespace spq::data
