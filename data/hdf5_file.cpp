#include "data/hdf5_file.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "core/error.h"

namespace spq::data {
namespace {

constexpr std::string_view kSignature = "\x89HDF\r\n\x1a\n";
constexpr uint64_t kFirstUserBlock = 512;
constexpr size_t kSuperblockSize = 100;  // of version 1, the longer one
constexpr uint64_t kAddressSize = 8;
constexpr size_t kHeaderPrefix = 16;
constexpr size_t kMessagePrefix = 8;
constexpr uint8_t kSharedMessage = 0x02;

/// A piece of an object header.
struct Block {
  uint64_t address = 0;
  uint64_t size = 0;
};

}  // namespace

Hdf5File::Hdf5File(const std::filesystem::path& path) : bytes_(path) {
  check(find_superblock(), "{}: cannot be read as HDF5: another format, truncated or damaged", bytes_.path());
  std::string block(std::min<uint64_t>(kSuperblockSize, bytes_.size() - base_), '\0');
  check(bytes_.read(base_, block.size(), block.data()), "{}: cannot be read", bytes_.path());
  FieldReader fields(block, path.string());
  fields.skip(kSignature.size());
  const uint64_t version = fields.number(1);
  check(version <= 1,
        "{}: HDF5 superblock version {}, this program reads 0 and 1: write the file with libver 'earliest'",
        bytes_.path(), version);
  fields.skip(4);
  const uint64_t offset_size = fields.number(1);
  const uint64_t length_size = fields.number(1);
  check(offset_size == kAddressSize && length_size == kAddressSize,
        "{}: HDF5 addresses of {} and lengths of {} bytes, this program reads 8", bytes_.path(), offset_size,
        length_size);
  fields.skip(version == 0 ? 9 : 13);
  const uint64_t base = fields.number(8);
  fields.skip(8);
  const uint64_t end = fields.number(8);
  check(base == base_ && end <= bytes_.size(),
        "{}: cannot be read as HDF5: truncated or damaged ({} bytes long, expected {})", bytes_.path(),
        bytes_.size(), end);
  fields.skip(16);
  root_ = fields.number(8);
}

bool Hdf5File::find_superblock() {
  std::array<char, kSignature.size()> start{};
  for (base_ = 0; bytes_.read(base_, start.size(), start.data());
       base_ = base_ == 0 ? kFirstUserBlock : 2 * base_) {
    if (std::string_view(start.data(), start.size()) == kSignature) return true;
  }
  return false;
}

bool Hdf5File::read(uint64_t address, uint64_t size, void* to) const {
  return address <= bytes_.size() && bytes_.read(base_ + address, size, to);
}

std::string Hdf5File::text(uint64_t address, uint64_t size) const {
  // Before anything is allocated.
  check(size <= bytes_.size(), "{}: damaged: a structure of {} bytes in a file of {}", path(), size,
        bytes_.size());
  std::string result(static_cast<size_t>(size), '\0');
  check(read(address, size, result.data()), "{}: damaged: a structure lies outside the file", path());
  return result;
}

Hdf5Object::Hdf5Object(const Hdf5File& file, uint64_t address, std::string place)
    : file_(&file), place_(std::move(place)) {
  const std::string prefix = file.text(address, kHeaderPrefix);
  FieldReader fields(prefix, place_);
  const uint64_t version = fields.number(1);
  check(version == 1, "{}: damaged, or HDF5 object header version {}: this program reads 1", place_, version);
  fields.skip(1);
  uint64_t messages = fields.number(2);
  fields.skip(4);
  std::vector<Block> blocks = {{address + kHeaderPrefix, fields.number(4)}};
  uint64_t total = 0;
  for (size_t i = 0; i < blocks.size(); ++i) {
    // Blocks do not overlap: a chain of them that leads back to itself ends here.
    total += std::min(blocks[i].size, file.size() + 1);
    check(total <= file.size(), "{}: damaged: its header is larger than the file", place_);
    const std::string block = file.text(blocks[i].address, blocks[i].size);
    FieldReader next(block, place_);
    for (; messages > 0 && next.left() >= kMessagePrefix; --messages) {
      const auto kind = static_cast<Hdf5Kind>(next.number(2));
      const uint64_t size = next.number(2);
      const bool shared = (next.number(1) & kSharedMessage) != 0;
      next.skip(3);
      const std::string_view data = next.text(size);
      if (kind == Hdf5Kind::kContinuation) {
        FieldReader where(data, place_);
        const uint64_t begin = where.number(8);
        blocks.push_back({begin, where.number(8)});
      } else if (kind == Hdf5Kind::kAttribute || kind == Hdf5Kind::kDatatype ||
                 kind == Hdf5Kind::kDataspace || kind == Hdf5Kind::kLayout || kind == Hdf5Kind::kFilters ||
                 kind == Hdf5Kind::kSymbolTable || kind == Hdf5Kind::kAttributeInfo) {
        check(!shared, "{}: uses shared HDF5 messages, which this program does not read", place_);
        messages_.push_back({kind, std::string(data)});
      }
    }
  }
}

const std::string* Hdf5Object::find(Hdf5Kind kind) const {
  const std::string* found = nullptr;
  for (const Hdf5Message& message : messages_) {
    if (message.kind != kind) continue;
    check(found == nullptr, "{}: damaged: its header says the same thing twice", place_);
    found = &message.data;
  }
  return found;
}

Hdf5Object open_group(const Hdf5Object& parent, const std::string& name) {
  const std::optional<uint64_t> address = parent.member(name);
  check(address.has_value(), "{}: no group '{}', or a damaged one", parent.place(), name);
  Hdf5Object group(parent.file(), *address, parent.place() + ": " + name);
  check(group.find(Hdf5Kind::kSymbolTable) != nullptr, "{}: '{}' is not a group", parent.place(), name);
  return group;
}

}  // namespace spq::data
