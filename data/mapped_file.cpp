#include "data/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "core/error.h"

namespace spq::data {
namespace {

// One request for read-ahead is silently cut to the device's limit, 128 KiB where nobody raised it.
constexpr size_t kPrefetchPiece = size_t{128} << 10;

size_t page_start(size_t offset) {
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return offset / page * page;
}

/// Length of a regular file. Error naming `path` on anything else.
size_t regular_file_size(int descriptor, const std::filesystem::path& path) {
  struct stat status {};
  check(fstat(descriptor, &status) == 0, "{}: cannot read ({})", path.string(), std::strerror(errno));
  check(S_ISREG(status.st_mode), "{}: not a regular file", path.string());
  check(status.st_size > 0, "{}: empty file", path.string());
  return static_cast<size_t>(status.st_size);
}

}  // namespace

MappedFile::MappedFile(const std::filesystem::path& path) : path_(path) {
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  check(descriptor >= 0, "{}: cannot open ({})", path.string(), std::strerror(errno));
  void* address = MAP_FAILED;
  try {
    size_ = regular_file_size(descriptor, path);
    address = mmap(nullptr, size_, PROT_READ, MAP_SHARED, descriptor, 0);
    check(address != MAP_FAILED, "{}: cannot map into memory ({})", path.string(), std::strerror(errno));
  } catch (...) {
    close(descriptor);
    throw;
  }
  close(descriptor);
  data_ = static_cast<std::byte*>(address);
  madvise(data_, size_, MADV_RANDOM);
}

MappedFile::~MappedFile() {
  munmap(data_, size_);
}

void MappedFile::prefetch(size_t offset, size_t length) const {
  const size_t end = offset + length;
  for (size_t begin = page_start(offset); begin < end; begin += kPrefetchPiece) {
    madvise(data_ + begin, std::min(kPrefetchPiece, end - begin), MADV_WILLNEED);
  }
}

void MappedFile::release(size_t offset, size_t length) const {
  if (length == 0) return;
  const size_t begin = page_start(offset);
  madvise(data_ + begin, offset + length - begin, MADV_DONTNEED);
}

}  // namespace spq::data
