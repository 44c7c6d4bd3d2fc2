// Files that are not believed: every read is checked against the file's length.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>

namespace spq::data {

/// A regular file opened for reading. Safe to share between threads.
class FileBytes {
 public:
  /// Error naming the file when it is missing, unreadable or not a regular file.
  explicit FileBytes(const std::filesystem::path& path);
  ~FileBytes();
  FileBytes(const FileBytes&) = delete;
  FileBytes& operator=(const FileBytes&) = delete;

  const std::string& path() const { return path_; }
  uint64_t size() const { return size_; }
  /// False when the bytes do not lie in the file or cannot be read.
  bool read(uint64_t offset, uint64_t size, void* to) const;

 private:
  std::string path_;
  int descriptor_ = -1;
  uint64_t size_ = 0;
};

/// Reads little-endian numbers and text one after the other.
class FieldReader {
 public:
  /// `place` starts the message of an Error when there are fewer bytes than asked for. `bytes` has to outlive
  /// the reader.
  FieldReader(std::string_view bytes, std::string place) : bytes_(bytes), place_(std::move(place)) {}

  uint64_t number(size_t width);  // 1 to 8 bytes
  std::string_view text(uint64_t size);
  void skip(uint64_t size) { text(size); }
  /// Error unless the next bytes are these; `what` names the structure they start.
  void expect(std::string_view bytes, std::string_view what);
  /// Skips to a multiple of `unit` from the start.
  void align(size_t unit);
  size_t position() const { return position_; }
  size_t left() const { return bytes_.size() - position_; }

 private:
  std::string_view bytes_;
  std::string place_;
  size_t position_ = 0;
};

}  // namespace spq::data
