#include "data/checkpoint.h"

#include <algorithm>
#include <charconv>
#include <string_view>

#include "core/error.h"
#include "data/atomic_file.h"
#include "data/checkpoint_hdf5.h"
#include "data/sealed_file.h"

namespace spq::data {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPrefix = "checkpoint-";

/// The step in a file's name; nothing when it is not exactly the name checkpoint_path() gives.
std::optional<int64_t> step_of(const fs::path& path) {
  const std::string name = path.filename().string();
  if (!name.starts_with(kPrefix)) return std::nullopt;
  int64_t step = 0;
  const char* end = name.data() + name.size();
  if (std::from_chars(name.data() + kPrefix.size(), end, step).ec != std::errc()) return std::nullopt;
  if (step < 0 || checkpoint_path(path.parent_path(), step).filename() != name) return std::nullopt;
  return step;
}

}  // namespace

void write_checkpoint(const fs::path& path, const Checkpoint& checkpoint) {
  std::string content = checkpoint_image(checkpoint, path);
  seal(content);
  write_text_atomically(path, content);
}

Checkpoint read_checkpoint(const fs::path& path) {
  check_seal(path);
  return read_checkpoint_hdf5(path);
}

std::vector<fs::path> list_checkpoints(const fs::path& folder) {
  std::vector<std::pair<int64_t, fs::path>> found;
  std::error_code error;
  fs::directory_iterator entry(folder, error);
  if (error == std::errc::no_such_file_or_directory) return {};
  for (; !error && entry != fs::directory_iterator(); entry.increment(error)) {
    std::error_code ignored;
    const auto step = step_of(entry->path());
    if (step && entry->is_regular_file(ignored)) found.emplace_back(*step, entry->path());
  }
  check(!error, "{}: cannot list its files ({})", folder.string(), error.message());
  std::sort(found.rbegin(), found.rend());
  std::vector<fs::path> paths;
  for (auto& [step, path] : found) paths.push_back(std::move(path));
  return paths;
}

fs::path checkpoint_path(const fs::path& folder, int64_t step) {
  return folder / fmt::format("{}{}.h5", kPrefix, step);
}

void prune_checkpoints(const fs::path& folder, int64_t keep) {
  SPQ_ASSERT(keep >= 0);
  const std::vector<fs::path> paths = list_checkpoints(folder);
  for (int64_t i = keep; i < std::ssize(paths); ++i) {
    const fs::path& path = paths[static_cast<size_t>(i)];
    std::error_code error;
    fs::remove(path, error);
    check(!error, "{}: cannot remove this old checkpoint ({})", path.string(), error.message());
  }
}

}  // namespace spq::data
