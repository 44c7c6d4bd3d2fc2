// One safetensors file: its header, checked whole, and its bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "data/mapped_file.h"

namespace spq::data {

struct TensorEntry {
  std::string dtype;           // as the file spells it: "F32", "BF16", ...
  std::vector<int64_t> shape;  // row-major
  size_t begin = 0;            // bytes [begin, end) from the start of the file
  size_t end = 0;
};

/// Opens a file and checks its header: JSON without duplicate keys, known dtypes, every shape agreeing with
/// its byte range, byte ranges that cover the rest of the file without hole or overlap. Error naming the
/// file, and the tensor where there is one, otherwise. No tensor data is touched.
class SafetensorsFile {
 public:
  explicit SafetensorsFile(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return bytes_.path(); }
  const MappedFile& bytes() const { return bytes_; }
  const std::map<std::string, TensorEntry>& entries() const { return entries_; }

 private:
  MappedFile bytes_;
  std::map<std::string, TensorEntry> entries_;
};

}  // namespace spq::data
