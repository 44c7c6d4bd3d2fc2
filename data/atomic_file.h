// Files that appear whole or not at all.
#pragma once

#include <filesystem>
#include <functional>
#include <string>

namespace spq::data {

/// Calls `write` with a temporary path in the folder of `path` (".<name>.<process id>.tmp"), flushes what it
/// wrote to disk, renames it to `path` and flushes the folder: at every moment `path` is absent, the old file
/// or the new file, whole. Error naming `path` when that fails; the temporary file is removed then, and the
/// old file stays.
void write_atomically(const std::filesystem::path& path,
                      const std::function<void(const std::filesystem::path& temporary)>& write);

/// write_atomically for a text.
void write_text_atomically(const std::filesystem::path& path, const std::string& text);

}  // namespace spq::data
