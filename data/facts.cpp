#include "data/facts.h"

#include <hdf5.h>

#include <system_error>

#include "core/error.h"
#include "data/mapped_file.h"
#include "data/sha256.h"
#include "data/shown_text.h"

namespace spq::data {
namespace {

constexpr size_t kHashDigits = 16;
constexpr size_t kSample = size_t{64} << 10;  // bytes
constexpr size_t kSamples = 16;

std::string short_hash(const std::string& hash) {
  return hash.substr(0, kHashDigits);
}

// Size and parts of a file, evenly spread from its first byte to its last.
std::string sampled_hash(const MappedFile& file) {
  Sha256 hash;
  hash.update(fmt::format("{}\n", file.size()));
  for (size_t i = 0; i < kSamples; ++i) {
    hash.update(file.data() + (file.size() - kSample) * i / (kSamples - 1), kSample);
  }
  return hash.finish();
}

enum class Extent { kWhole, kSampled };

std::string file_value(const std::filesystem::path& path, Extent extent) {
  if (path.empty()) return "none";
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) return "no file";
  if (std::filesystem::file_size(path, error) == 0) return "an empty file";
  const MappedFile file(path);
  if (extent == Extent::kSampled && file.size() > kSample * kSamples) return short_hash(sampled_hash(file));
  return short_hash(sha256_hex(file.data(), file.size()));
}

std::string hdf5_version() {
  unsigned major = 0, minor = 0, release = 0;
  check(H5get_libversion(&major, &minor, &release) >= 0, "HDF5 does not tell its version");
  return fmt::format("{}.{}.{}", major, minor, release);
}

}  // namespace

std::vector<Fact> program_facts(const std::string& version) {
  return {{"program version", version},
          {"program file", file_value("/proc/self/exe", Extent::kWhole)},
          {"HDF5 library", hdf5_version()}};
}

std::vector<Fact> config_facts(std::span<const Key> keys, const std::filesystem::path& config_file,
                               const std::filesystem::path& model_dir) {
  std::vector<Fact> facts;
  for (const Key& key : keys) facts.push_back({key.path, shown(key.get())});
  facts.push_back({"configuration file", file_value(config_file, Extent::kWhole)});
  facts.push_back({"the model's config.json", file_value(model_dir / "config.json", Extent::kWhole)});
  return facts;
}

Fact weights_fact(const ModelFiles& files) {
  return {"model weights", short_hash(files.fingerprint())};
}

Fact sampled_fact(const std::string& name, const std::filesystem::path& path) {
  return {name, file_value(path, Extent::kSampled)};
}

}  // namespace spq::data
