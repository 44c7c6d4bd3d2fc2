// One run at a time in an output folder.
#pragma once

#include <filesystem>

namespace spq::data {

/// Holds `folder` for this process until it is destroyed or the process ends, however it ends: an advisory
/// lock (flock) on folder/.spq-lock, which names the host and process that hold it. The folder must exist.
class FolderLock {
 public:
  static constexpr const char* kFileName = ".spq-lock";

  /// Error naming the folder, and who holds it, when it is held already; Error when the lock file cannot be
  /// made.
  explicit FolderLock(const std::filesystem::path& folder);
  /// Removes the lock file.
  ~FolderLock();
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

 private:
  std::filesystem::path path_;
  int descriptor_ = -1;
};

}  // namespace spq::data
