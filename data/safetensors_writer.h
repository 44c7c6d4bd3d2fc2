// Writes one safetensors file, tensor by tensor.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace spq::data {

/// A tensor of a file before its numbers are known.
struct TensorSpec {
  std::string name;
  at::ScalarType dtype = at::kFloat;
  std::vector<int64_t> shape;

  size_t bytes() const;
};

/// The layout follows from the list given at the start: metadata {"format": "pt"}, header padded to 8 bytes,
/// tensors by element size descending and then by name, so that each is aligned. The numbers come in any
/// order and go straight to their place: no tensor is kept. Until finish() the file has a temporary name.
class SafetensorsWriter {
 public:
  /// Creates the temporary file and writes the header. Error naming `path` and the tensor on a name given
  /// twice, a dtype that safetensors or we do not have (F64 F32 F16 BF16 I64 I32 I16 I8 U8 BOOL), a negative
  /// size; Error naming `path` when its folder cannot be written.
  SafetensorsWriter(std::filesystem::path path, const std::vector<TensorSpec>& tensors);
  /// Removes the temporary file unless finish() succeeded.
  ~SafetensorsWriter();
  SafetensorsWriter(const SafetensorsWriter&) = delete;
  SafetensorsWriter& operator=(const SafetensorsWriter&) = delete;

  /// Writes one tensor; it need not be contiguous. Error naming `path` and the tensor when it is not in the
  /// list, already written, or has another dtype or shape than announced, and when the disk is full.
  void write(const std::string& name, const at::Tensor& tensor);

  bool complete() const { return missing_.empty(); }

  /// Flushes to disk and renames to `path`, as write_atomically(). Error naming a tensor that was not
  /// written.
  void finish();

 private:
  struct Place {
    TensorSpec spec;
    size_t begin = 0;  // from the start of the file
  };
  void write_at(const void* data, size_t size, size_t offset) const;

  std::filesystem::path path_;
  std::filesystem::path temporary_;
  int descriptor_ = -1;
  std::map<std::string, Place> places_;
  std::map<std::string, const Place*> missing_;  // not yet written
};

}  // namespace spq::data
