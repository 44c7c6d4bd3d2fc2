#include "data/zip_archive.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>

#include "core/error.h"
#include "data/shown_text.h"

namespace spq::data {
namespace {

constexpr uint32_t kEndSignature = 0x06054b50;
constexpr uint32_t kEntrySignature = 0x02014b50;
constexpr uint32_t kLocalSignature = 0x04034b50;
constexpr size_t kEndSize = 22;
constexpr size_t kEntrySize = 46;
constexpr size_t kLocalSize = 30;
constexpr size_t kMaxComment = 0xffff;

constexpr std::array<uint32_t, 256> crc_table() {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < table.size(); ++i) {
    uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit) value = (value >> 1) ^ ((value & 1) != 0 ? 0xedb88320u : 0u);
    table[i] = value;
  }
  return table;
}

uint32_t crc32(const std::byte* data, size_t size) {
  static constexpr std::array<uint32_t, 256> kTable = crc_table();
  uint32_t value = 0xffffffffu;
  for (size_t i = 0; i < size; ++i) {
    value = (value >> 8) ^ kTable[(value ^ std::to_integer<uint32_t>(data[i])) & 0xff];
  }
  return ~value;
}

/// Reads little-endian numbers, never beyond the end of the file.
class Reader {
 public:
  explicit Reader(const MappedFile& file) : file_(file) {}

  void need(size_t offset, size_t size) const {
    check(offset <= file_.size() && size <= file_.size() - offset,
          "{}: damaged or truncated: its zip directory points beyond its end", file_.path().string());
  }
  uint32_t number(size_t offset, size_t size) const {
    need(offset, size);
    uint32_t value = 0;
    for (size_t i = size; i-- > 0;)
      value = (value << 8) | std::to_integer<uint32_t>(file_.data()[offset + i]);
    return value;
  }
  uint32_t u16(size_t offset) const { return number(offset, 2); }
  uint32_t u32(size_t offset) const { return number(offset, 4); }
  std::string text(size_t offset, size_t size) const {
    need(offset, size);
    return {reinterpret_cast<const char*>(file_.data()) + offset, size};
  }

 private:
  const MappedFile& file_;
};

size_t find_end(const Reader& read, const MappedFile& file) {
  check(file.size() >= kEndSize, "{}: too short for a zip archive", file.path().string());
  const size_t last = file.size() - kEndSize;
  const size_t first = last - std::min(last, kMaxComment);
  for (size_t offset = last + 1; offset-- > first;) {
    if (read.u32(offset) == kEndSignature) return offset;
  }
  fail("{}: truncated or not a zip archive: it has no directory", file.path().string());
}

/// An entry of the archive.
struct Entry {
  std::string name;
  std::span<const std::byte> content;
  size_t next_record = 0;  // where the directory goes on
};

/// Checks the entry whose directory record is at `offset`.
Entry check_entry(const Reader& read, const MappedFile& file, size_t offset) {
  const std::string path = file.path().string();
  check(read.u32(offset) == kEntrySignature, "{}: damaged: its zip directory is not readable", path);
  const uint32_t method = read.u16(offset + 10);
  const uint32_t crc = read.u32(offset + 16);
  const uint32_t size = read.u32(offset + 20);
  const uint32_t name_size = read.u16(offset + 28);
  const uint32_t local = read.u32(offset + 42);
  const std::string name = read.text(offset + kEntrySize, name_size);
  check(method == 0 && size == read.u32(offset + 24), "{}: zip entry '{}' is compressed, expected it stored",
        path, shown(name));
  check(size != 0xffffffffu && local != 0xffffffffu, "{}: larger than 4 GiB", path);
  check(read.u32(local) == kLocalSignature, "{}: damaged: zip entry '{}' is not where it should be", path,
        shown(name));
  const size_t data = local + kLocalSize + read.u16(local + 26) + read.u16(local + 28);
  read.need(data, size);
  file.prefetch(data, size);
  check(crc32(file.data() + data, size) == crc, "{}: damaged: the CRC-32 of zip entry '{}' is wrong", path,
        shown(name));
  return {name,
          {file.data() + data, size},
          offset + kEntrySize + name_size + read.u16(offset + 30) + read.u16(offset + 32)};
}

}  // namespace

ZipArchive::ZipArchive(const std::filesystem::path& path) : file_(path) {
  const Reader read(file_);
  const size_t end = find_end(read, file_);
  const uint32_t entries = read.u16(end + 10);
  size_t offset = read.u32(end + 16);
  size_t total = 0;
  for (uint32_t i = 0; i < entries; ++i) {
    const Entry entry = check_entry(read, file_, offset);
    // Entries do not overlap: otherwise a small file could stand for any number of bytes.
    total += kEntrySize + entry.content.size();
    check(total <= file_.size(), "{}: damaged: the entries of the zip archive are larger than the file",
          path.string());
    check(entries_.emplace(entry.name, entry.content).second, "{}: damaged: zip entry '{}' is there twice",
          path.string(), shown(entry.name));
    offset = entry.next_record;
  }
}

}  // namespace spq::data
