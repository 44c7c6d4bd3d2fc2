// Datasets in chunks of whole rows: what our files consist of.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/hdf5_file.h"

namespace spq::data {

/// What a dataset looks like.
struct DatasetLayout {
  std::vector<int64_t> shape;
  std::vector<int64_t> chunk;  // empty when it is not chunked
  int64_t stored_chunks = 0;   // chunks that are in the file
  bool has_fletcher32 = false;
};

enum class ElementType { kFloat32, kUint32 };

class Hdf5Dataset {
 public:
  /// Error naming `name` when it is absent, its elements are not little-endian of this type, its chunks do
  /// not consist of whole rows (entries along the first dimension), it went through other filters than gzip
  /// and Fletcher32, or its list of chunks is damaged.
  Hdf5Dataset(const Hdf5Object& parent, const std::string& name, ElementType type);

  const DatasetLayout& layout() const { return layout_; }
  AttributeMap attributes() const { return object_.attributes(); }
  /// Copies rows [begin, begin + count), which have to lie in the shape, to `to`. False when a chunk is
  /// missing or damaged. Only for layouts with chunks.
  bool read_rows(int64_t begin, int64_t count, void* to) const;

 private:
  struct Chunk {
    int64_t index = 0;  // its first row / rows per chunk
    uint64_t address = 0;
    uint64_t stored_bytes = 0;
    uint64_t skipped_filters = 0;  // bit i: filter i was not applied
  };
  void parse_layout(const std::string& message);
  void parse_filters(const std::string& message);
  void check_row_chunks();
  void list_chunks(uint64_t node, int level);
  /// The chunk's rows; empty when it is damaged.
  std::string decode(const Chunk& chunk) const;

  Hdf5Object object_;
  std::string place_;
  DatasetLayout layout_;
  std::vector<uint64_t> filters_;  // in the order of writing
  uint64_t tree_ = 0;              // address of the list of chunks
  uint64_t tree_bytes_ = 0;        // of it that were read
  uint64_t row_bytes_ = 0;
  uint64_t chunk_bytes_ = 0;
  std::vector<Chunk> chunks_;  // by index
};

}  // namespace spq::data
