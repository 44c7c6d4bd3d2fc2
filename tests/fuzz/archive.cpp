#include "archive.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "bytes.h"

namespace spq::fuzz {
namespace {

constexpr size_t kLocalSize = 30;
constexpr size_t kEntrySize = 46;
constexpr size_t kEndSize = 22;

uint64_t number_at(const std::string& bytes, size_t offset, size_t width) {
  uint64_t value = 0;
  std::memcpy(&value, bytes.data() + offset, width);
  return value;
}

void append(std::string& to, uint64_t value, size_t width) {
  to.append(reinterpret_cast<const char*>(&value), width);
}

uint32_t crc32(const std::string& data) {
  uint32_t value = 0xffffffffu;
  for (const char c : data) {
    value ^= static_cast<unsigned char>(c);
    for (int bit = 0; bit < 8; ++bit) value = (value >> 1) ^ ((value & 1) != 0 ? 0xedb88320u : 0u);
  }
  return ~value;
}

/// The fields that a local header and a directory record have in common, from "version needed" to the name's
/// size.
std::string common_fields(const ZipEntry& entry) {
  std::string fields;
  append(fields, 20, 2);
  append(fields, 0, 8);  // flags, stored, time, date
  append(fields, crc32(entry.data), 4);
  append(fields, entry.data.size(), 4);
  append(fields, entry.data.size(), 4);
  append(fields, entry.name.size(), 2);
  return fields;
}

/// Bytes of the operation at `at`, its argument included; 0 when it is not known.
size_t operation_size(const std::string& program, size_t at) {
  const size_t left = program.size() - at;
  const auto within = [left](size_t size) { return size <= left ? size : 0; };
  switch (static_cast<unsigned char>(program[at])) {
    case 0x80:  // PROTO
    case 'K':   // BININT1
    case 'h':   // BINGET
    case 'q':   // BINPUT
      return within(2);
    case 'M':  // BININT2
      return within(3);
    case 'J':  // BININT
    case 'j':  // LONG_BINGET
    case 'r':  // LONG_BINPUT
      return within(5);
    case 'G':  // BINFLOAT
      return within(9);
    case 'X':  // BINUNICODE
      return left < 5 ? 0 : within(5 + number_at(program, at + 1, 4));
    case 0x8a:  // LONG1
      return left < 2 ? 0 : within(2 + number_at(program, at + 1, 1));
    case 'c': {  // GLOBAL: two lines
      const size_t first = program.find('\n', at);
      const size_t second = first == std::string::npos ? first : program.find('\n', first + 1);
      return second == std::string::npos ? 0 : second + 1 - at;
    }
    default:
      return std::strchr("}](t.)RQus\x85\x86\x87\x88\x89Nbeal0", program[at]) != nullptr ? 1 : 0;
  }
}

std::string random_operation(Random& random) {
  static const std::vector<std::string> kOperations = {"}",
                                                       "]",
                                                       "(",
                                                       "t",
                                                       ".",
                                                       ")",
                                                       "R",
                                                       "Q",
                                                       "u",
                                                       "s",
                                                       "N",
                                                       "b",
                                                       "e",
                                                       "a",
                                                       "l",
                                                       "0",
                                                       "2",
                                                       "\x85",
                                                       "\x86",
                                                       "\x87",
                                                       "\x88",
                                                       "\x89",
                                                       std::string("K\0", 2),
                                                       "K\xff",
                                                       "J\xff\xff\xff\x7f",
                                                       "J\xff\xff\xff\xff",
                                                       "h\x63",
                                                       "j\xff\xff\xff\xff",
                                                       "r\xff\xff\xff\x7f",
                                                       "X\xff\xff\xff\xff",
                                                       "X\xff\xff\xff\x7f"
                                                       "abc",
                                                       "\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f",
                                                       std::string("\x8a\x08\0\0\0\0\0\0\0\x80", 10),
                                                       "\x8a\xff",
                                                       "\x8b\xff\xff\xff\x7f",
                                                       std::string("X\1\0\0\0"
                                                                   "9",
                                                                   6),
                                                       "ctorch._utils\n_rebuild_tensor_v2\n",
                                                       "ctorch\nFloatStorage\n",
                                                       "ctorch\nDoubleStorage\n",
                                                       "ctorch\nQInt8Storage\n",
                                                       "ccollections\nOrderedDict\n",
                                                       "cos\nsystem\n",
                                                       "ctorch._utils\n_rebuild_sparse_tensor\n",
                                                       "ctorch._utils\n_rebuild_qtensor\n",
                                                       "ctorch\ndevice\n",
                                                       "ctorch.jit._pickle\nbuild_intlist\n",
                                                       "ctorch.jit._pickle\nrestore_type_tag\n",
                                                       "c__torch__\nFoo\n",
                                                       "ctorch.distributed.rpc\nrref\n",
                                                       "cbuiltins\ncomplex\n",
                                                       "G\x7f\xf0\0\0\0\0\0\0"};
  return random.pick(kOperations);
}

void change_argument(std::string& operation, Random& random) {
  if (operation.size() < 2) return;
  const size_t width = std::min<size_t>(operation.size() - 1, random.chance(50) ? 4 : 1);
  const size_t offset =
      operation[0] == 'X' && random.chance(50) ? 1 : 1 + random.below(operation.size() - width);
  const uint64_t value = edge_number(number_at(operation, offset, width), random);
  std::memcpy(operation.data() + offset, &value, width);
}

}  // namespace

std::vector<ZipEntry> zip_entries(const std::string& archive) {
  std::vector<ZipEntry> entries;
  const size_t end = archive.rfind("PK\x05\x06");
  size_t record = number_at(archive, end + 16, 4);
  for (uint64_t left = number_at(archive, end + 10, 2); left > 0; --left) {
    const size_t name_size = number_at(archive, record + 28, 2);
    const size_t local = number_at(archive, record + 42, 4);
    const size_t data =
        local + kLocalSize + number_at(archive, local + 26, 2) + number_at(archive, local + 28, 2);
    entries.push_back({archive.substr(record + kEntrySize, name_size),
                       archive.substr(data, number_at(archive, record + 20, 4))});
    record +=
        kEntrySize + name_size + number_at(archive, record + 30, 2) + number_at(archive, record + 32, 2);
  }
  return entries;
}

std::string build_zip(const std::vector<ZipEntry>& entries, bool lies, Random& random) {
  std::string archive, directory;
  std::vector<std::pair<size_t, size_t>> headers;  // offset and size of what may lie
  for (const ZipEntry& entry : entries) {
    const std::string fields = common_fields(entry);
    directory.append("PK\x01\x02\x14", 5).append(1, '\0').append(fields);
    directory.append(12, '\0');  // extra size, comment size, disk, attributes
    append(directory, archive.size(), 4);
    directory += entry.name;
    headers.emplace_back(archive.size(), kLocalSize);
    archive.append("PK\x03\x04").append(fields);
    append(archive, 0, 2);
    archive += entry.name + entry.data;
  }
  headers.emplace_back(archive.size(), directory.size() + kEndSize);
  const size_t start = archive.size();
  archive += directory;
  archive.append("PK\x05\x06");
  append(archive, 0, 4);
  append(archive, entries.size(), 2);
  append(archive, entries.size(), 2);
  append(archive, directory.size(), 4);
  append(archive, start, 4);
  append(archive, 0, 2);
  for (size_t times = lies ? 1 + random.below(3) : 0; times > 0; --times) {
    const auto [offset, size] = random.pick(headers);
    const size_t width = size_t{1} << random.below(3);
    const size_t at = offset + random.below(size - width + 1);
    const uint64_t value = edge_number(number_at(archive, at, width), random);
    std::memcpy(archive.data() + at, &value, width);
  }
  return archive;
}

std::vector<std::string> pickle_operations(const std::string& program) {
  std::vector<std::string> operations;
  for (size_t at = 0; at < program.size();) {
    size_t size = operation_size(program, at);
    if (size == 0) size = program.size() - at;
    operations.push_back(program.substr(at, size));
    at += size;
  }
  return operations;
}

std::string mutate_pickle(const std::string& program, Random& random) {
  std::vector<std::string> operations = pickle_operations(program);
  for (size_t times = 1 + random.below(4); times > 0 && !operations.empty(); --times) {
    const size_t i = random.below(operations.size());
    const size_t j = random.below(operations.size());
    const auto at = operations.begin() + static_cast<std::ptrdiff_t>(i);
    switch (random.below(7)) {
      case 0:
        operations.erase(at);
        break;
      case 1:
        operations.insert(at, 1 + (random.chance(5) ? 50000 : random.below(3)), std::string(operations[j]));
        break;
      case 2:
        std::swap(operations[i], operations[j]);
        break;
      case 3:
        operations[i] = random_operation(random);
        break;
      case 4:
        operations.insert(at, random_operation(random));
        break;
      default:
        change_argument(operations[i], random);
    }
  }
  std::string result;
  for (const std::string& operation : operations) result += operation;
  return result;
}

}  // namespace spq::fuzz
