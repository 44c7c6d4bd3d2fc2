#include "data/safetensors.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <string_view>

#include "core/error.h"
#include "data/json_text.h"
#include "data/shape_text.h"
#include "data/shown_text.h"

namespace spq::data {
namespace {

using Json = nlohmann::json;

constexpr size_t kLengthField = 8;
constexpr size_t kMaxRank = 64;                       // LibTorch's limit
constexpr uint64_t kMaxHeader = uint64_t{100} << 20;  // the reference library's limit

/// Bytes per element; 0 for a dtype we do not know.
size_t element_size(std::string_view dtype) {
  static constexpr std::pair<std::string_view, size_t> kSizes[] = {
      {"F64", 8}, {"I64", 8}, {"U64", 8},     {"F32", 4},     {"I32", 4}, {"U32", 4}, {"F16", 2}, {"BF16", 2},
      {"I16", 2}, {"U16", 2}, {"F8_E4M3", 1}, {"F8_E5M2", 1}, {"I8", 1},  {"U8", 1},  {"BOOL", 1}};
  for (const auto& [name, size] : kSizes) {
    if (name == dtype) return size;
  }
  return 0;
}

uint64_t header_length(const MappedFile& file) {
  const std::string path = file.path().string();
  check(file.size() >= kLengthField + 2, "{}: {} bytes long, too short for a safetensors file", path,
        file.size());
  uint64_t length = 0;
  std::memcpy(&length, file.data(), sizeof(length));
  check(length <= kMaxHeader, "{}: header length {}, expected at most {}: not a safetensors file?", path,
        length, kMaxHeader);
  check(length <= file.size() - kLengthField, "{}: header length {}, but only {} bytes follow: truncated?",
        path, length, file.size() - kLengthField);
  return length;
}

std::vector<int64_t> parse_shape(const Json& value, const std::string& place) {
  check(value.is_array(), "{}: shape is {}, expected an array", place, shown_json(value));
  std::vector<int64_t> shape;
  for (const Json& size : value) {
    check(size.is_number_unsigned() &&
              size.get<uint64_t>() <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max()),
          "{}: shape is {}, expected sizes of 0 or more", place, shown_json(value));
    shape.push_back(size.get<int64_t>());
  }
  return shape;
}

size_t byte_count(const TensorEntry& entry, const std::string& place) {
  auto bytes = static_cast<int64_t>(element_size(entry.dtype));
  check(bytes > 0, "{}: unknown dtype '{}'", place, shown(entry.dtype));
  check(entry.shape.size() <= kMaxRank, "{}: {} dimensions, expected at most {}", place, entry.shape.size(),
        kMaxRank);
  bool is_empty = false;
  for (const int64_t size : entry.shape) {
    is_empty = is_empty || size == 0;
    // An empty tensor's other sizes, too, are multiplied by those who use it.
    check(!__builtin_mul_overflow(bytes, std::max<int64_t>(size, 1), &bytes), "{}: shape {} is too large",
          place, shape_text(entry.shape));
  }
  return is_empty ? 0 : static_cast<size_t>(bytes);
}

/// `data_begin`: where the data part starts, `data_size`: its length.
TensorEntry parse_entry(const Json& value, size_t data_begin, size_t data_size, const std::string& place) {
  check(value.is_object() && value.size() == 3 && value.contains("dtype") && value.contains("shape") &&
            value.contains("data_offsets"),
        "{}: expected an object of dtype, shape and data_offsets", place);
  check(value["dtype"].is_string(), "{}: dtype is {}, expected a string", place, shown_json(value["dtype"]));
  TensorEntry entry{value["dtype"].get<std::string>(), parse_shape(value["shape"], place), 0, 0};
  const size_t bytes = byte_count(entry, place);
  const Json& offsets = value["data_offsets"];
  check(offsets.is_array() && offsets.size() == 2 && offsets[0].is_number_unsigned() &&
            offsets[1].is_number_unsigned(),
        "{}: data_offsets is {}, expected [begin, end]", place, shown_json(offsets));
  const auto begin = offsets[0].get<uint64_t>();
  const auto end = offsets[1].get<uint64_t>();
  check(begin <= end && end <= data_size,
        "{}: data_offsets {} do not lie in the {} bytes of data: truncated?", place, shown_json(offsets),
        data_size);
  check(end - begin == bytes, "{}: data_offsets span {} bytes, but dtype {} and shape {} need {}", place,
        end - begin, entry.dtype, shape_text(entry.shape), bytes);
  entry.begin = data_begin + begin;
  entry.end = data_begin + end;
  return entry;
}

void check_metadata(const Json& value, const std::string& place) {
  check(value.is_object(), "{}: __metadata__ is not an object", place);
  for (const auto& [key, text] : value.items()) {
    check(text.is_string(), "{}: __metadata__ '{}' is {}, expected a string", place, shown(key),
          shown_json(text));
  }
}

/// The reference library refuses holes, overlaps and trailing bytes: all of them mean a damaged or hand-made
/// file.
void check_cover(const std::map<std::string, TensorEntry>& entries, size_t data_begin,
                 const MappedFile& file) {
  std::vector<std::pair<const std::string*, const TensorEntry*>> order;
  for (const auto& [name, entry] : entries) order.emplace_back(&name, &entry);
  std::sort(order.begin(), order.end(), [](const auto& a, const auto& b) {
    return std::pair(a.second->begin, a.second->end) < std::pair(b.second->begin, b.second->end);
  });
  size_t end = data_begin;
  for (const auto& [name, entry] : order) {
    check(entry->begin == end, "{}: tensor '{}' starts at byte {} of the data, expected {} ({})",
          file.path().string(), shown(*name), entry->begin - data_begin, end - data_begin,
          entry->begin > end ? "gap" : "overlap");
    end = entry->end;
  }
  check(end == file.size(), "{}: {} bytes after the last tensor", file.path().string(), file.size() - end);
}

}  // namespace

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path) : bytes_(path) {
  const uint64_t length = header_length(bytes_);
  const size_t data_begin = kLengthField + length;
  bytes_.prefetch(0, data_begin);
  const std::string place = fmt::format("{}: safetensors header", path.string());
  const std::string_view text(reinterpret_cast<const char*>(bytes_.data()) + kLengthField, length);
  check(text.starts_with('{'), "{}: does not start with '{{'", place);
  const Json header = parse_json(text, place);
  for (const auto& [name, value] : header.items()) {
    if (name == "__metadata__") {
      check_metadata(value, place);
      continue;
    }
    const std::string tensor = fmt::format("{}: tensor '{}'", path.string(), shown(name));
    entries_.emplace(name, parse_entry(value, data_begin, bytes_.size() - data_begin, tensor));
  }
  check_cover(entries_, data_begin, bytes_);
}

}  // namespace spq::data
