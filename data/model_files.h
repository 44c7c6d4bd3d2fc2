// The tensors of a checkpoint directory: one safetensors file or shards with an index, memory-mapped.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace spq::data {

class SafetensorsFile;

/// Opens model.safetensors, or model.safetensors.index.json and every shard it names, and checks each header
/// whole (JSON, dtypes, shapes, offsets inside the file, no holes or overlaps, index and headers agreeing)
/// before any weight is touched. Reading a part touches only that part's bytes. Safe to share read-only
/// between threads.
class ModelFiles {
 public:
  explicit ModelFiles(const std::filesystem::path& model_dir);
  ~ModelFiles();
  ModelFiles(ModelFiles&&) noexcept;

  bool has(const std::string& name) const;
  std::vector<std::string> names() const;  // sorted

  /// The file that holds a tensor.
  const std::filesystem::path& file(const std::string& name) const;
  /// Shape of a tensor. Error naming the directory when there is no such tensor.
  std::vector<int64_t> shape(const std::string& name) const;
  /// One of at::kFloat, at::kHalf, at::kBFloat16 (others are an Error naming tensor and file).
  at::ScalarType dtype(const std::string& name) const;
  /// Error unless `name` has this shape; the message names file, tensor, found and expected.
  void expect_shape(const std::string& name, const std::vector<int64_t>& expected) const;

  /// A copy of rows [begin, end) of a matrix (or of entries of a vector), in the file's dtype.
  at::Tensor read_rows(const std::string& name, int64_t begin, int64_t end) const;
  /// A copy of columns [begin, end) of a matrix [rows, columns], transposed: [end - begin, rows], in the
  /// file's dtype.
  at::Tensor read_columns_transposed(const std::string& name, int64_t begin, int64_t end) const;
  at::Tensor read(const std::string& name) const;

  /// The same two to `to`, which has room for the result: for callers that read a matrix in parts, from
  /// several threads.
  void copy_rows(const std::string& name, int64_t begin, int64_t end, void* to) const;
  void copy_columns_transposed(const std::string& name, int64_t begin, int64_t end, void* to) const;

  /// SHA-256 (hex) over names, dtypes, shapes and the first and last 4 KiB of each tensor's data: tells
  /// models apart without reading them whole.
  std::string fingerprint() const;

 private:
  std::vector<std::unique_ptr<SafetensorsFile>> files_;
  std::map<std::string, const SafetensorsFile*> where_;
  std::filesystem::path model_dir_;
};

}  // namespace spq::data
