// Attributes as they are stored in an object's header: hdf5_file.h.
#include <algorithm>
#include <limits>
#include <string_view>

#include "core/error.h"
#include "data/hdf5_file.h"
#include "data/hdf5_types.h"
#include "data/shown_text.h"

namespace spq::data {
namespace {

constexpr size_t kMaxAttributes = 1000;
constexpr uint64_t kMaxText = uint64_t{1} << 20;
constexpr uint64_t kMaxHeap = 2 * kMaxText;
constexpr size_t kHeapHeader = 16;
constexpr size_t kHeapEntry = 16;
constexpr size_t kPadding = 8;  // of the parts of an attribute of version 1

/// Up to the first zero, as C reads it.
std::string c_text(std::string_view bytes) {
  return std::string(bytes.substr(0, bytes.find('\0')));
}

/// Text number `index` of a global heap, where text of variable length is kept.
std::string heap_text(const Hdf5File& file, uint64_t heap, uint64_t index, uint64_t length,
                      const std::string& place) {
  const std::string header = file.text(heap, kHeapHeader);
  FieldReader fields(header, place);
  fields.expect("GCOL\x01", "store of texts");
  fields.skip(3);
  const uint64_t size = fields.number(8);
  check(kHeapHeader <= size && size <= kMaxHeap, "{}: damaged: its text is in a store of {} bytes", place,
        size);
  const std::string entries = file.text(heap + kHeapHeader, size - kHeapHeader);
  FieldReader next(entries, place);
  while (next.left() >= kHeapEntry) {
    const uint64_t found = next.number(2);
    next.skip(6);
    const uint64_t bytes = next.number(8);
    if (found == 0) break;  // free space, to the end
    const std::string_view text = next.text(bytes);
    if (found == index) {
      check(length <= text.size(), "{}: damaged: its text is cut short", place);
      return c_text(text.substr(0, static_cast<size_t>(length)));
    }
    next.align(kPadding);
  }
  fail("{}: damaged: its text is not there", place);
}

int64_t integer_value(const Hdf5Type& type, std::string_view bytes, const std::string& place) {
  std::string ordered(bytes.substr(0, static_cast<size_t>(type.size)));
  if (type.is_big_endian) std::reverse(ordered.begin(), ordered.end());
  const uint64_t value = FieldReader(ordered, place).number(ordered.size());
  const auto unused = static_cast<int>(64 - 8 * type.size);
  if (type.is_signed) return static_cast<int64_t>(value << unused) >> unused;
  check(value <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max()), "{}: {} is too large", place,
        value);
  return static_cast<int64_t>(value);
}

AttributeValue decode(const Hdf5File& file, const Hdf5Type& type, std::string_view bytes,
                      const std::string& place) {
  FieldReader fields(bytes, place);
  switch (type.kind) {
    case Hdf5Type::Kind::kInteger:
      return integer_value(type, fields.text(type.size), place);
    case Hdf5Type::Kind::kFixedText: {
      check(type.size <= kMaxText, "{}: {} bytes long, expected at most {}", place, type.size, kMaxText);
      std::string text = c_text(fields.text(type.size));
      if (type.padded_by_space) text.resize(text.find_last_not_of(' ') + 1);
      return text;
    }
    case Hdf5Type::Kind::kVariableText: {
      const uint64_t length = fields.number(4);
      const uint64_t heap = fields.number(8);
      check(length <= kMaxText, "{}: {} bytes long, expected at most {}", place, length, kMaxText);
      return length == 0 ? "" : heap_text(file, heap, fields.number(4), length, place);
    }
    default:
      fail("{}: expected an integer or a string", place);
  }
}

/// Name and value.
std::pair<std::string, AttributeValue> read_attribute(const Hdf5Object& object, const std::string& message) {
  FieldReader fields(message, object.place());
  const uint64_t version = fields.number(1);
  check(1 <= version && version <= 3, "{}: damaged: attribute version {}", object.place(), version);
  check(fields.number(1) == 0, "{}: an attribute has a shared type, which this program does not read",
        object.place());
  const uint64_t name_size = fields.number(2);
  const uint64_t type_size = fields.number(2);
  const uint64_t space_size = fields.number(2);
  if (version == 3) fields.skip(1);
  const auto part = [&](uint64_t size) {
    const std::string_view bytes = fields.text(size);
    if (version == 1) fields.align(kPadding);
    return bytes;
  };
  std::string name = c_text(part(name_size));
  const std::string place = fmt::format("{}: attribute '{}'", object.place(), shown(name));
  const Hdf5Type type = parse_type(part(type_size), place);
  const std::vector<int64_t> shape = parse_dataspace(part(space_size), place);
  check(std::ranges::all_of(shape, [](int64_t size) { return size == 1; }), "{}: expected a single value",
        place);
  return {std::move(name), decode(object.file(), type, fields.text(fields.left()), place)};
}

}  // namespace

AttributeMap Hdf5Object::attributes() const {
  check(find(Hdf5Kind::kAttributeInfo) == nullptr,
        "{}: its attributes are in a format that this program does not read", place_);
  AttributeMap attributes;
  uint64_t text_bytes = 0;
  for (const Hdf5Message& message : messages_) {
    if (message.kind != Hdf5Kind::kAttribute) continue;
    check(attributes.size() < kMaxAttributes, "{}: more than {} attributes", place_, kMaxAttributes);
    auto [name, value] = read_attribute(*this, message.data);
    // Each text has its own place in the file.
    if (const auto* text = std::get_if<std::string>(&value)) text_bytes += text->size();
    check(text_bytes <= file_->size(), "{}: damaged: its texts are longer than the file", place_);
    check(attributes.emplace(name, std::move(value)).second, "{}: damaged: attribute '{}' is there twice",
          place_, shown(name));
  }
  return attributes;
}

}  // namespace spq::data
