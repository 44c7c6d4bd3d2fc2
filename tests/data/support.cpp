#include "support.h"

#include <fmt/format.h>
#include <stdlib.h>

#include <fstream>
#include <iterator>

#include "core/error.h"

namespace spq::data {

TempDir::TempDir() {
  std::string name = (std::filesystem::temp_directory_path() / "spq-data-XXXXXX").string();
  check(mkdtemp(name.data()) != nullptr, "{}: cannot make a temporary folder", name);
  path_ = name;
}

TempDir::~TempDir() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

void write_text(const std::filesystem::path& path, const std::string& text) {
  std::ofstream stream(path, std::ios::binary);
  stream << text;
  stream.close();
  check(stream.good(), "{}: cannot write", path.string());
}

std::string read_text(const std::filesystem::path& path) {
  std::ifstream stream(path, std::ios::binary);
  check(stream.good(), "{}: cannot read", path.string());
  return {std::istreambuf_iterator<char>(stream), {}};
}

void flip_byte(const std::filesystem::path& path, size_t position, char mask) {
  std::fstream stream(path, std::ios::in | std::ios::out | std::ios::binary);
  char byte = 0;
  stream.seekg(static_cast<std::streamoff>(position));
  stream.get(byte);
  stream.seekp(static_cast<std::streamoff>(position));
  stream.put(static_cast<char>(byte ^ mask));
  stream.close();
  check(stream.good(), "{}: cannot change byte {}", path.string(), position);
}

std::string error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

size_t count_files(const std::filesystem::path& folder) {
  size_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(folder)) ++count;
  return count;
}

std::filesystem::path source_folder() {
  return std::filesystem::path(SPQ_SOURCE_DIR) / "tests" / "data";
}

}  // namespace spq::data
