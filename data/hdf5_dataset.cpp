#include "data/hdf5_dataset.h"

#include <algorithm>
#include <cstring>
#include <optional>

#include "core/error.h"
#include "data/hdf5_filters.h"
#include "data/hdf5_types.h"

namespace spq::data {
namespace {

constexpr uint64_t kDeflate = 1;
constexpr uint64_t kFletcher = 3;
constexpr size_t kFletcherBytes = 4;
constexpr uint64_t kElementSize = 4;
constexpr uint64_t kNowhere = ~uint64_t{0};  // address of what does not exist
constexpr size_t kTreeHeader = 24;
constexpr int kAnyLevel = -1;
constexpr uint64_t kChunkedClass = 2;

Hdf5Object member_object(const Hdf5Object& parent, const std::string& name) {
  const std::optional<uint64_t> address = parent.member(name);
  check(address.has_value(), "{}: no dataset '{}'", parent.place(), name);
  return {parent.file(), *address, fmt::format("{}: dataset '{}'", parent.place(), name)};
}

const std::string& need(const Hdf5Object& object, Hdf5Kind kind) {
  const std::string* message = object.find(kind);
  check(message != nullptr, "{}: is not a dataset, or damaged", object.place());
  return *message;
}

void check_type(const Hdf5Object& object, ElementType expected) {
  const Hdf5Type type = parse_type(need(object, Hdf5Kind::kDatatype), object.place());
  const bool is_uint32 = type.kind == Hdf5Type::Kind::kInteger && type.size == kElementSize &&
                         !type.is_signed && !type.is_big_endian;
  check(expected == ElementType::kFloat32 ? type.kind == Hdf5Type::Kind::kFloat32 : is_uint32,
        "{} has another element type, expected {} (little-endian)", object.place(),
        expected == ElementType::kFloat32 ? "float32" : "uint32");
}

}  // namespace

Hdf5Dataset::Hdf5Dataset(const Hdf5Object& parent, const std::string& name, ElementType type)
    : object_(member_object(parent, name)), place_(object_.place()) {
  check_type(object_, type);
  layout_.shape = parse_dataspace(need(object_, Hdf5Kind::kDataspace), place_);
  parse_layout(need(object_, Hdf5Kind::kLayout));
  if (const std::string* message = object_.find(Hdf5Kind::kFilters)) parse_filters(*message);
  if (layout_.chunk.empty()) return;
  check_row_chunks();
  if (tree_ != kNowhere) list_chunks(tree_, kAnyLevel);
  std::ranges::sort(chunks_, {}, &Chunk::index);
  const auto twice = std::ranges::adjacent_find(chunks_, {}, &Chunk::index);
  check(twice == chunks_.end(), "{}: damaged: one of its chunks is there twice", place_);
  layout_.stored_chunks = std::ssize(chunks_);
}

void Hdf5Dataset::parse_layout(const std::string& message) {
  FieldReader fields(message, place_);
  const uint64_t version = fields.number(1);
  check(version == 3, "{}: damaged, or its layout has version {}: this program reads 3", place_, version);
  if (fields.number(1) != kChunkedClass) return;
  const uint64_t rank = fields.number(1);
  check(rank == layout_.shape.size() + 1, "{}: damaged: its chunks have {} sizes", place_, rank);
  tree_ = fields.number(8);
  for (size_t i = 0; i < layout_.shape.size(); ++i)
    layout_.chunk.push_back(static_cast<int64_t>(fields.number(4)));
  check(fields.number(4) == kElementSize, "{}: damaged: its chunks have other elements", place_);
}

void Hdf5Dataset::parse_filters(const std::string& message) {
  FieldReader fields(message, place_);
  const uint64_t version = fields.number(1);
  check(version == 1 || version == 2, "{}: damaged: version {} of its filters", place_, version);
  const uint64_t count = fields.number(1);
  if (version == 1) fields.skip(6);
  for (uint64_t i = 0; i < count; ++i) {
    const uint64_t filter = fields.number(2);
    check(filter == kDeflate || filter == kFletcher,
          "{}: went through HDF5 filter {}, this program knows gzip and Fletcher32", place_, filter);
    check(std::ranges::find(filters_, filter) == filters_.end(), "{}: damaged: went twice through a filter",
          place_);
    filters_.push_back(filter);
    const uint64_t name_size = version == 1 ? fields.number(2) : 0;
    fields.skip(2);
    const uint64_t parameters = fields.number(2);
    fields.skip(name_size);
    fields.skip(4 * (parameters + (version == 1 ? parameters % 2 : 0)));
  }
  layout_.has_fletcher32 = std::ranges::find(filters_, kFletcher) != filters_.end();
}

void Hdf5Dataset::check_row_chunks() {
  check(!layout_.chunk.empty() && layout_.chunk[0] > 0 &&
            std::equal(layout_.chunk.begin() + 1, layout_.chunk.end(), layout_.shape.begin() + 1),
        "{}: its chunks do not consist of whole rows", place_);
  row_bytes_ = kElementSize;
  bool fits = true;
  for (size_t i = 1; i < layout_.shape.size(); ++i) {
    fits = fits && !__builtin_mul_overflow(row_bytes_, static_cast<uint64_t>(layout_.shape[i]), &row_bytes_);
  }
  fits = fits && !__builtin_mul_overflow(row_bytes_, static_cast<uint64_t>(layout_.chunk[0]), &chunk_bytes_);
  check(fits && chunk_bytes_ < (uint64_t{1} << 32), "{}: damaged: its chunks are too large", place_);
}

void Hdf5Dataset::list_chunks(uint64_t node, int level) {
  const Hdf5File& file = object_.file();
  const std::string header = file.text(node, kTreeHeader);
  FieldReader fields(header, place_);
  fields.expect("TREE\x01", "list of chunks");
  const int found_level = static_cast<int>(fields.number(1));
  check(level == kAnyLevel || level == found_level, "{}: damaged: its list of chunks is not a tree", place_);
  const uint64_t entries = fields.number(2);
  const size_t key_size = 8 + 8 * (layout_.shape.size() + 1);
  // Nodes do not overlap: a tree whose parts are shared, or that leads back to itself, ends here.
  tree_bytes_ += kTreeHeader + entries * (key_size + 8);
  check(tree_bytes_ <= file.size(), "{}: damaged: its list of chunks is larger than the file", place_);
  const std::string body = file.text(node + kTreeHeader, entries * (key_size + 8));
  FieldReader next(body, place_);
  for (uint64_t i = 0; i < entries; ++i) {
    Chunk chunk;
    chunk.stored_bytes = next.number(4);
    chunk.skipped_filters = next.number(4);
    const uint64_t row = next.number(8);
    next.skip(key_size - 16);
    chunk.address = next.number(8);
    if (found_level > 0) {
      list_chunks(chunk.address, found_level - 1);
      continue;
    }
    const auto rows = static_cast<uint64_t>(layout_.chunk[0]);
    check(row < static_cast<uint64_t>(layout_.shape[0]) && row % rows == 0,
          "{}: damaged: one of its chunks starts at row {}", place_, row);
    chunk.index = static_cast<int64_t>(row / rows);
    chunks_.push_back(chunk);
  }
}

std::string Hdf5Dataset::decode(const Chunk& chunk) const {
  const auto applied = [&](size_t i) { return (chunk.skipped_filters >> i & 1) == 0; };
  uint64_t limit = chunk.stored_bytes;
  for (size_t i = 0; i < filters_.size(); ++i) {
    if (filters_[i] == kFletcher && !applied(i)) return "";
    if (filters_[i] == kDeflate && applied(i)) limit = (chunk.stored_bytes + 1) * kMaxDeflateRatio;
  }
  // Before anything is allocated.
  if (chunk_bytes_ > limit || chunk.stored_bytes > object_.file().size()) return "";
  std::string bytes(chunk.stored_bytes, '\0');
  if (!object_.file().read(chunk.address, bytes.size(), bytes.data())) return "";
  for (size_t i = filters_.size(); i-- > 0;) {
    if (!applied(i)) continue;
    if (filters_[i] == kFletcher) {
      if (bytes.size() < kFletcherBytes) return "";
      const std::string_view stored = std::string_view(bytes).substr(bytes.size() - kFletcherBytes);
      const uint64_t expected = FieldReader(stored, place_).number(kFletcherBytes);
      bytes.resize(bytes.size() - kFletcherBytes);
      if (fletcher32(bytes) != expected) return "";
    } else {
      const bool sum_inside = i > 0 && filters_[0] == kFletcher;
      std::optional<std::string> inflated =
          inflate_to(bytes, chunk_bytes_ + (sum_inside ? kFletcherBytes : 0));
      if (!inflated) return "";
      bytes = std::move(*inflated);
    }
  }
  return bytes.size() == chunk_bytes_ ? bytes : "";
}

bool Hdf5Dataset::read_rows(int64_t begin, int64_t count, void* to) const {
  SPQ_ASSERT(!layout_.chunk.empty() && 0 <= begin && 0 <= count && begin <= layout_.shape[0] &&
             count <= layout_.shape[0] - begin);
  const int64_t chunk_rows = layout_.chunk[0];
  auto* next = static_cast<char*>(to);
  for (int64_t row = begin; row < begin + count;) {
    const int64_t index = row / chunk_rows;
    const int64_t first = row - index * chunk_rows;
    const auto rows = static_cast<uint64_t>(std::min(chunk_rows - first, begin + count - row));
    const auto chunk = std::ranges::lower_bound(chunks_, index, {}, &Chunk::index);
    if (chunk == chunks_.end() || chunk->index != index) return false;
    const std::string bytes = decode(*chunk);
    if (bytes.empty()) return false;
    std::memcpy(next, bytes.data() + static_cast<uint64_t>(first) * row_bytes_, rows * row_bytes_);
    next += rows * row_bytes_;
    row += static_cast<int64_t>(rows);
  }
  return true;
}

}  // namespace spq::data
