// The members of a group: hdf5_file.h.
#include <optional>
#include <string>

#include "core/error.h"
#include "data/hdf5_file.h"

namespace spq::data {
namespace {

constexpr size_t kHeapHeader = 32;
constexpr size_t kTreeHeader = 24;
constexpr size_t kSymbolHeader = 8;
constexpr size_t kSymbolSize = 40;
constexpr uint64_t kSoftLink = 2;  // kind of a symbol

/// A group's tree of symbol tables, and the heap that holds the names.
class Members {
 public:
  Members(const Hdf5Object& group, const std::string& table) : file_(group.file()), place_(group.place()) {
    FieldReader fields(table, place_);
    tree_ = fields.number(8);
    const std::string header = file_.text(fields.number(8), kHeapHeader);
    FieldReader heap(header, place_);
    heap.expect(std::string_view("HEAP\0", 5), "list of names");
    heap.skip(3);
    const uint64_t size = heap.number(8);
    heap.skip(8);
    names_ = file_.text(heap.number(8), size);
  }

  std::optional<uint64_t> find(const std::string& name) { return find_below(tree_, std::nullopt, name); }

 private:
  /// Levels fall on the way down, and nodes do not overlap: damage cannot make this endless.
  std::optional<uint64_t> find_below(uint64_t address, std::optional<uint64_t> level,
                                     const std::string& name) {
    const std::string header = file_.text(address, kTreeHeader);
    FieldReader fields(header, place_);
    fields.expect(std::string_view("TREE\0", 5), "list of members");
    const uint64_t found_level = fields.number(1);
    check(!level || *level == found_level, "{}: damaged: its list of members is not a tree", place_);
    const uint64_t entries = fields.number(2);
    const std::string body = part(address + kTreeHeader, 16 * entries);
    FieldReader children(body, place_);
    for (uint64_t i = 0; i < entries; ++i) {
      children.skip(8);
      const uint64_t child = children.number(8);
      const std::optional<uint64_t> found =
          found_level > 0 ? find_below(child, found_level - 1, name) : find_symbol(child, name);
      if (found) return found;
    }
    return std::nullopt;
  }

  std::optional<uint64_t> find_symbol(uint64_t address, const std::string& name) {
    const std::string header = file_.text(address, kSymbolHeader);
    FieldReader fields(header, place_);
    fields.expect("SNOD\x01", "list of members");
    fields.skip(1);
    const uint64_t count = fields.number(2);
    const std::string body = part(address + kSymbolHeader, count * kSymbolSize);
    FieldReader symbols(body, place_);
    for (uint64_t i = 0; i < count; ++i) {
      const uint64_t name_offset = symbols.number(8);
      const uint64_t member = symbols.number(8);
      const uint64_t kind = symbols.number(4);
      symbols.skip(20);
      if (!is_name(name_offset, name)) continue;
      check(kind != kSoftLink, "{}: '{}' is a link, which this program does not follow", place_, name);
      return member;
    }
    return std::nullopt;
  }

  std::string part(uint64_t address, uint64_t size) {
    read_ += kSymbolHeader + size;
    check(read_ <= file_.size(), "{}: damaged: its list of members is larger than the file", place_);
    return file_.text(address, size);
  }

  bool is_name(uint64_t offset, const std::string& name) const {
    check(offset < names_.size(), "{}: damaged: the name of a member lies outside its list", place_);
    // With the zero that ends it.
    return names_.compare(static_cast<size_t>(offset), name.size() + 1, name.c_str(), name.size() + 1) == 0;
  }

  const Hdf5File& file_;
  const std::string& place_;
  uint64_t tree_ = 0;
  std::string names_;
  uint64_t read_ = 0;  // bytes of the tree
};

}  // namespace

std::optional<uint64_t> Hdf5Object::member(const std::string& name) const {
  const std::string* table = find(Hdf5Kind::kSymbolTable);
  check(table != nullptr, "{}: damaged, or a group in a format that this program does not read", place_);
  return Members(*this, *table).find(name);
}

}  // namespace spq::data
