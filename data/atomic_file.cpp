#include "data/atomic_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>

#include "core/error.h"

namespace spq::data {
namespace {

namespace fs = std::filesystem;

fs::path folder_of(const fs::path& path) {
  return path.has_parent_path() ? path.parent_path() : fs::path(".");
}

/// Removes the file at the end of the scope. Once it is renamed there is nothing left to remove.
class Remover {
 public:
  explicit Remover(const fs::path& path) : path_(path) {}
  ~Remover() {
    std::error_code ignored;
    fs::remove(path_, ignored);
  }
  Remover(const Remover&) = delete;
  Remover& operator=(const Remover&) = delete;

 private:
  const fs::path& path_;
};

/// 0 or the errno of the failure.
int flush_to_disk(const fs::path& path, int flags) {
  const int descriptor = open(path.c_str(), flags | O_CLOEXEC);
  if (descriptor < 0) return errno;
  const int error = fsync(descriptor) == 0 ? 0 : errno;
  close(descriptor);
  return error;
}

}  // namespace

void write_atomically(const fs::path& path, const std::function<void(const fs::path& temporary)>& write) {
  const fs::path folder = folder_of(path);
  std::error_code error;
  check(fs::is_directory(folder, error), "{}: cannot write: no folder {}", path.string(), folder.string());
  check(!fs::is_directory(path, error), "{}: cannot write: it is a folder", path.string());
  const fs::path temporary = folder / fmt::format(".{}.{}.tmp", path.filename().string(), getpid());
  const Remover remover(temporary);
  write(temporary);
  const int file_error = flush_to_disk(temporary, O_RDONLY);
  check(file_error == 0, "{}: cannot write ({})", path.string(), std::strerror(file_error));
  fs::rename(temporary, path, error);
  check(!error, "{}: cannot write ({})", path.string(), error.message());
  // Some network file systems cannot flush a folder; the rename itself was atomic there too.
  const int folder_error = flush_to_disk(folder, O_RDONLY | O_DIRECTORY);
  check(folder_error == 0 || folder_error == EINVAL || folder_error == ENOTSUP,
        "{}: cannot flush {} to disk ({})", path.string(), folder.string(), std::strerror(folder_error));
}

void write_text_atomically(const fs::path& path, const std::string& text) {
  write_atomically(path, [&](const fs::path& temporary) {
    std::ofstream file(temporary, std::ios::binary);
    file << text;
    file.flush();
    check(file.good(), "{}: cannot write ({})", path.string(), std::strerror(errno));
  });
}

}  // namespace spq::data
