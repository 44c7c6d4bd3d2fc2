// A checksum over a whole HDF5 file, kept in its user block: the 512 bytes at the start that HDF5 leaves to
// the application.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>

namespace spq::data {

inline constexpr size_t kSealSize = 512;

/// Whether `first_bytes` of a file can only be those of a sealed one.
bool looks_sealed(std::string_view first_bytes);

/// Writes the seal over the first kSealSize bytes of a file's content.
void seal(std::string& content);

/// Error naming the file unless it exists and no byte of it changed since it was sealed.
void check_seal(const std::filesystem::path& path);

}  // namespace spq::data
