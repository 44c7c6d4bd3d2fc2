// What HDF5 does to a chunk before it stores it, undone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace spq::data {

/// HDF5's variant of Fletcher's checksum: 16-bit words with the more significant byte first.
uint32_t fletcher32(std::string_view bytes);

/// Undoes gzip's compression (the zlib format). Nothing when the result has not exactly `size` bytes.
std::optional<std::string> inflate_to(std::string_view bytes, size_t size);

/// More than this many times its stored bytes no chunk can have been.
inline constexpr uint64_t kMaxDeflateRatio = 1032;

}  // namespace spq::data
