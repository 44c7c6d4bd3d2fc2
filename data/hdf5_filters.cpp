#include "data/hdf5_filters.h"

#include <zlib.h>

namespace spq::data {
namespace {

/// The sum modulo 65535, but 65535 where it is a multiple of that and not zero.
uint64_t fold(uint64_t sum) {
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return sum;
}

}  // namespace

uint32_t fletcher32(std::string_view bytes) {
  constexpr size_t kFoldEvery = 4096;  // words; the sums of sums then stay far below 2^64
  uint64_t sum = 0;
  uint64_t sum_of_sums = 0;
  const auto byte = [&](size_t i) { return static_cast<uint64_t>(static_cast<unsigned char>(bytes[i])); };
  const size_t words = bytes.size() / 2;
  for (size_t i = 0; i < words; ++i) {
    sum += (byte(2 * i) << 8) | byte(2 * i + 1);
    sum_of_sums += sum;
    if (i % kFoldEvery == kFoldEvery - 1) {
      sum = fold(sum);
      sum_of_sums = fold(sum_of_sums);
    }
  }
  if (bytes.size() % 2 != 0) {
    sum += byte(bytes.size() - 1) << 8;
    sum_of_sums += sum;
  }
  return static_cast<uint32_t>((fold(sum_of_sums) << 16) | fold(sum));
}

std::optional<std::string> inflate_to(std::string_view bytes, size_t size) {
  std::string result(size, '\0');
  uLongf written = size;
  const int status =
      uncompress(reinterpret_cast<Bytef*>(result.data()), &written,
                 reinterpret_cast<const Bytef*>(bytes.data()), static_cast<uLong>(bytes.size()));
  if (status != Z_OK || written != size) return std::nullopt;
  return result;
}

}  // namespace spq::data
