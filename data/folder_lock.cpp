#include "data/folder_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <string>

#include "core/error.h"

namespace spq::data {
namespace {

std::string holder(int descriptor) {
  std::array<char, 256> text{};
  const ssize_t size = pread(descriptor, text.data(), text.size() - 1, 0);
  return size > 0 ? std::string(text.data(), static_cast<size_t>(size)) : "another process";
}

void sign(int descriptor) {
  std::array<char, 128> host{};
  gethostname(host.data(), host.size() - 1);
  const std::string text = fmt::format("process {} on host {}", getpid(), host.data());
  // Only for other processes' messages: the lock holds without it.
  if (ftruncate(descriptor, 0) != 0 || pwrite(descriptor, text.data(), text.size(), 0) < 0) return;
}

}  // namespace

FolderLock::FolderLock(const std::filesystem::path& folder) : path_(folder / kFileName) {
  while (true) {
    descriptor_ = open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    check(descriptor_ >= 0, "{}: cannot make this file ({})", path_.string(), std::strerror(errno));
    if (flock(descriptor_, LOCK_EX | LOCK_NB) != 0) {
      const std::string who = errno == EWOULDBLOCK ? holder(descriptor_) : std::strerror(errno);
      close(descriptor_);
      fail("{}: is in use by another run ({}); wait for it or choose another output_dir", folder.string(),
           who);
    }
    struct stat status {};
    if (fstat(descriptor_, &status) == 0 && status.st_nlink > 0) break;
    close(descriptor_);  // the holder before us removed this file between our two calls
  }
  sign(descriptor_);
}

FolderLock::~FolderLock() {
  unlink(path_.c_str());
  close(descriptor_);
}

}  // namespace spq::data
