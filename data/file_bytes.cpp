#include "data/file_bytes.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "core/error.h"

namespace spq::data {

FileBytes::FileBytes(const std::filesystem::path& path) : path_(path.string()) {
  std::error_code error;
  const auto status = std::filesystem::status(path, error);
  check(std::filesystem::exists(status), "{}: no such file", path_);
  check(std::filesystem::is_regular_file(status), "{}: not a regular file", path_);
  descriptor_ = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  check(descriptor_ >= 0, "{}: cannot open ({})", path_, std::strerror(errno));
  size_ = std::filesystem::file_size(path, error);
  if (!error) return;
  close(descriptor_);
  fail("{}: cannot read ({})", path_, error.message());
}

FileBytes::~FileBytes() {
  close(descriptor_);
}

bool FileBytes::read(uint64_t offset, uint64_t size, void* to) const {
  if (offset > size_ || size > size_ - offset) return false;
  auto* next = static_cast<char*>(to);
  while (size > 0) {
    const ssize_t count = pread(descriptor_, next, size, static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return false;
    next += count;
    offset += static_cast<uint64_t>(count);
    size -= static_cast<uint64_t>(count);
  }
  return true;
}

uint64_t FieldReader::number(size_t width) {
  SPQ_ASSERT(width >= 1 && width <= sizeof(uint64_t));
  const std::string_view bytes = text(width);
  uint64_t value = 0;
  for (size_t i = width; i-- > 0;) value = (value << 8) | static_cast<unsigned char>(bytes[i]);
  return value;
}

std::string_view FieldReader::text(uint64_t size) {
  check(size <= left(), "{}: damaged: {} bytes are missing in it", place_, size - left());
  const std::string_view result = bytes_.substr(position_, static_cast<size_t>(size));
  position_ += static_cast<size_t>(size);
  return result;
}

void FieldReader::expect(std::string_view bytes, std::string_view what) {
  check(left() >= bytes.size() && text(bytes.size()) == bytes, "{}: damaged: its {} is not readable", place_,
        what);
}

void FieldReader::align(size_t unit) {
  const size_t over = position_ % unit;
  if (over != 0) skip(unit - over);
}

}  // namespace spq::data
