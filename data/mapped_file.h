// A file as read-only memory.
#pragma once

#include <cstddef>
#include <filesystem>

namespace spq::data {

/// Maps a whole file read-only. The kernel does no read-ahead of its own here, so that a process reads from
/// disk only what it asks for with prefetch() or touches. Safe to share between threads.
class MappedFile {
 public:
  /// Error naming the file when it is missing, unreadable, not a regular file, or empty.
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const std::filesystem::path& path() const { return path_; }
  const std::byte* data() const { return data_; }
  size_t size() const { return size_; }

  /// Asks the kernel to start reading these bytes.
  void prefetch(size_t offset, size_t length) const;
  /// Takes the pages of these bytes out of this process's resident memory. They stay valid: a later touch
  /// maps them again.
  void release(size_t offset, size_t length) const;

 private:
  std::filesystem::path path_;
  std::byte* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace spq::data
