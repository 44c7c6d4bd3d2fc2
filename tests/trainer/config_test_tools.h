// What several configuration tests need.
#pragma once

#include <filesystem>
#include <fstream>
#include <string>

#include "core/error.h"
#include "trainer/config_yaml.h"

namespace spq::trainer {

inline constexpr const char* kRequired = "model: m\noutput_dir: o\ndata: {train: t}\n";

/// The message of the Error that `action` throws; fails the caller's comparison when it throws none.
template <class Action>
std::string error_of(Action action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "(no error)";
}

inline std::string yaml_error(const std::string& text) {
  return error_of([&] { config_from_yaml_text(text, "a.yaml"); });
}

/// A Config in which only the required keys are given.
inline Config minimal_config() {
  return config_from_yaml_text(kRequired, "minimal");
}

inline std::string read_text(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// A fresh folder that is removed in the end.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "spq-config-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) fail("cannot make a temporary folder {}", name);
    path_ = name;
  }
  ~TemporaryFolder() { std::filesystem::remove_all(path_); }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  std::filesystem::path write(const std::string& name, const std::string& text) const {
    std::ofstream(path_ / name, std::ios::binary) << text;
    return path_ / name;
  }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace spq::trainer
