#include "bytes.h"

#include <algorithm>
#include <cstring>

namespace spq::fuzz {
namespace {

constexpr size_t kMaxInput = size_t{1} << 20;

uint64_t number_at(const std::string& bytes, size_t offset, size_t width) {
  uint64_t value = 0;
  std::memcpy(&value, bytes.data() + offset, width);
  return value;
}

void set_number(std::string& bytes, size_t offset, size_t width, uint64_t value) {
  std::memcpy(bytes.data() + offset, &value, width);
}

void overwrite_number(std::string& bytes, Random& random) {
  const size_t width = size_t{1} << random.below(4);
  if (bytes.size() < width) return;
  size_t offset = random.below(bytes.size() - width + 1);
  if (random.chance(70)) offset -= offset % width;
  set_number(bytes, offset, width, edge_number(number_at(bytes, offset, width), random));
}

std::string random_bytes(size_t count, Random& random) {
  std::string bytes(count, '\0');
  for (char& byte : bytes) byte = static_cast<char>(random.bits());
  return bytes;
}

void insert_or_delete(std::string& bytes, Random& random) {
  const size_t offset = random.below(bytes.size() + 1);
  const size_t length = random.chance(70) ? 1 + random.below(8) : random.below(bytes.size() + 1);
  if (random.chance(50)) {
    bytes.erase(std::min(offset, bytes.size()), length);
  } else {
    bytes.insert(offset, random.chance(50) ? std::string(length, '\0') : random_bytes(length, random));
  }
}

/// Copies a range over or between other bytes.
void copy_range(std::string& bytes, Random& random) {
  const std::string range =
      bytes.substr(random.below(bytes.size()), 1 + random.below(std::min<size_t>(bytes.size(), 512)));
  const size_t to = random.below(bytes.size());
  if (random.chance(70)) {
    bytes.replace(to, std::min(range.size(), bytes.size() - to), range, 0, bytes.size() - to);
  } else {
    for (size_t times = 1 + random.below(4); times > 0; --times) bytes.insert(to, range);
  }
}

void change_length(std::string& bytes, const std::string& donor, Random& random) {
  const size_t keep = random.below(bytes.size() + 1);
  switch (random.below(4)) {
    case 0:
      bytes.resize(keep);
      break;
    case 1:
      bytes.append(1 + random.below(4096), static_cast<char>(random.bits()));
      break;
    case 2:
      bytes.resize(keep);
      bytes += donor.substr(std::min(keep, donor.size()));
      break;
    default:
      bytes += bytes;
  }
}

void mutate_once(std::string& bytes, const std::string& donor, Random& random) {
  if (bytes.empty()) bytes = donor.substr(0, 1 + random.below(64));
  const size_t kind = random.below(100);
  const size_t offset = random.below(bytes.size());
  if (bytes.empty()) return;
  if (kind < 20) {
    bytes[offset] = static_cast<char>(bytes[offset] ^ (1 << random.below(8)));
  } else if (kind < 35) {
    bytes[offset] = static_cast<char>(random.bits());
  } else if (kind < 60) {
    overwrite_number(bytes, random);
  } else if (kind < 75) {
    mutate_small_number(bytes, random);
  } else if (kind < 85) {
    insert_or_delete(bytes, random);
  } else if (kind < 93) {
    copy_range(bytes, random);
  } else {
    change_length(bytes, donor, random);
  }
}

}  // namespace

uint64_t edge_number(uint64_t value, Random& random) {
  static const std::vector<uint64_t> kEdges = {0,
                                               1,
                                               2,
                                               127,
                                               128,
                                               255,
                                               256,
                                               32767,
                                               32768,
                                               65535,
                                               65536,
                                               0xffffff,
                                               0x1000000,
                                               0x7fffffff,
                                               0x80000000,
                                               0xffffffff,
                                               0x100000000,
                                               uint64_t{1} << 40,
                                               0x7fffffffffffffff,
                                               0x8000000000000000,
                                               0xfffffffffffffffe,
                                               0xffffffffffffffff};
  switch (random.below(6)) {
    case 0:
      return value + 1 + random.below(16);
    case 1:
      return value - 1 - random.below(16);
    case 2:
      return value * (2 + random.below(7));
    case 3:
      return random.below(4096);
    default:
      return random.pick(kEdges);
  }
}

void mutate_small_number(std::string& bytes, Random& random) {
  constexpr int kAttempts = 200;
  for (int i = 0; i < kAttempts; ++i) {
    const size_t width = size_t{2} << random.below(3);
    if (bytes.size() < width) return;
    const size_t offset = random.below(bytes.size() - width + 1) / width * width;
    const uint64_t value = number_at(bytes, offset, width);
    if (value == 0 || value > bytes.size()) continue;
    set_number(bytes, offset, width, edge_number(value, random));
    return;
  }
}

void mutate_block(std::string& bytes, const std::vector<std::string>& signatures, Random& random) {
  std::vector<size_t> starts;
  for (const std::string& signature : signatures) {
    for (size_t at = bytes.find(signature); at != std::string::npos; at = bytes.find(signature, at + 1)) {
      starts.push_back(at);
    }
  }
  if (starts.empty()) return;
  constexpr size_t kBlock = 256;
  const size_t start = random.pick(starts);
  const size_t length = std::min(random.below(kBlock) + 1, bytes.size() - start);
  switch (random.below(5)) {
    case 0:
      bytes.replace(start, length, bytes.substr(random.pick(starts), length));
      break;
    case 1:
      bytes.replace(start + std::min<size_t>(4, length), length, length, '\0');
      break;
    case 2:
      bytes.erase(start, length);
      break;
    default: {
      // Where in a block its fields lie: addresses and sizes are 8 bytes wide, counts and versions less.
      const size_t width = size_t{1} << random.below(4);
      const size_t offset = start + random.below(kBlock) / width * width;
      if (offset + width > bytes.size()) return;
      set_number(bytes, offset, width, edge_number(number_at(bytes, offset, width), random));
    }
  }
}

std::string mutate_bytes(std::string bytes, const std::string& donor, Random& random) {
  for (size_t times = 1 + random.below(4); times > 0; --times) {
    if (bytes.size() < kMaxInput) mutate_once(bytes, donor, random);
  }
  return bytes;
}

}  // namespace spq::fuzz
