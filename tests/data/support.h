// What the tests of the data folder share.
#pragma once

#include <filesystem>
#include <functional>
#include <string>

namespace spq::data {

/// A fresh folder, removed with all it holds at the end of the scope.
class TempDir {
 public:
  TempDir();
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

void write_text(const std::filesystem::path& path, const std::string& text);
std::string read_text(const std::filesystem::path& path);
/// Changes one byte of a file (xor, so that calling it again restores the byte).
void flip_byte(const std::filesystem::path& path, size_t position, char mask);

/// The message of the spq::Error that `action` throws; "" when it throws none. Other exceptions pass through.
std::string error_of(const std::function<void()>& action);

/// Files in a folder, hidden ones included.
size_t count_files(const std::filesystem::path& folder);

/// tests/data/ in the source tree.
std::filesystem::path source_folder();

}  // namespace spq::data
