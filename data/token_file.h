// Token files written by tools/tokenize.py (docs/checkpoint_format.md describes the layout).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

namespace spq::data {

class Hdf5Dataset;
class Hdf5File;

/// A read-only token file. Reading a window reads only its chunks. Safe to share between threads.
class TokenFile {
 public:
  /// Error naming the file on: missing, not HDF5, not a spq token file, another version, damaged.
  explicit TokenFile(const std::filesystem::path& path);
  ~TokenFile();
  TokenFile(const TokenFile&) = delete;
  TokenFile& operator=(const TokenFile&) = delete;

  int64_t size() const { return size_; }
  int64_t vocab_size() const { return vocab_size_; }  // of the tokenizer that wrote it
  const std::string& tokenizer_sha256() const { return tokenizer_sha256_; }
  const std::filesystem::path& path() const { return path_; }

  /// Tokens [begin, begin + count) as int64 [count]. Error on a range outside the file, on a damaged chunk,
  /// and on an id not below `vocab_limit` (naming file, position, id).
  at::Tensor read(int64_t begin, int64_t count, int64_t vocab_limit) const;

 private:
  std::filesystem::path path_;
  std::unique_ptr<const Hdf5File> file_;
  std::unique_ptr<const Hdf5Dataset> tokens_;
  int64_t size_ = 0;
  int64_t vocab_size_ = 0;
  std::string tokenizer_sha256_;
};

}  // namespace spq::data
