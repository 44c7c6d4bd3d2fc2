// HDF5 files read by our own program. The library cannot be used for that: HDF5 1.10 crashes, hangs or asks
// for terabytes on files with damaged metadata. We read the format that HDF5 and h5py write unless told
// otherwise (superblock 0 or 1, version 1 object headers), which is the same for all their versions; nothing
// in a file is believed before it is checked.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "data/file_bytes.h"
#include "data/hdf5_values.h"

namespace spq::data {

/// The kinds of header messages that we know.
enum class Hdf5Kind : uint16_t {
  kDataspace = 0x01,
  kDatatype = 0x03,
  kLayout = 0x08,
  kFilters = 0x0b,
  kAttribute = 0x0c,
  kContinuation = 0x10,
  kSymbolTable = 0x11,
  kAttributeInfo = 0x15,
};

/// One fact about an object.
struct Hdf5Message {
  Hdf5Kind kind{};
  std::string data;
};

/// The file with the addresses that its structures use: they count from the superblock.
class Hdf5File {
 public:
  /// Error naming the file when it is not HDF5, cut short, or of a format that we do not read.
  explicit Hdf5File(const std::filesystem::path& path);

  const std::string& path() const { return bytes_.path(); }
  uint64_t size() const { return bytes_.size(); }
  uint64_t root_address() const { return root_; }
  bool read(uint64_t address, uint64_t size, void* to) const;
  /// The same. Error naming the file when the bytes do not lie in it.
  std::string text(uint64_t address, uint64_t size) const;

 private:
  bool find_superblock();

  FileBytes bytes_;
  uint64_t base_ = 0;  // offset of the superblock
  uint64_t root_ = 0;  // address of the root group's header
};

/// A group or dataset: its header, read whole.
class Hdf5Object {
 public:
  /// `place` is what errors start with. The file has to outlive the object.
  Hdf5Object(const Hdf5File& file, uint64_t address, std::string place);

  const Hdf5File& file() const { return *file_; }
  const std::string& place() const { return place_; }

  /// The message of this kind; nullptr when there is none. Error when there are several.
  const std::string* find(Hdf5Kind kind) const;
  /// All attributes. Error on one that is neither an integer of at most 64 bits nor a text of fixed or
  /// variable length, on one that is there twice, and on more than any of our files has.
  AttributeMap attributes() const;
  /// The header's address of a group's member; nothing when it has none of this name.
  std::optional<uint64_t> member(const std::string& name) const;

 private:
  const Hdf5File* file_;
  std::string place_;
  std::vector<Hdf5Message> messages_;
};

/// A group's member that is a group. Error naming it when it is not there.
Hdf5Object open_group(const Hdf5Object& parent, const std::string& name);

}  // namespace spq::data
