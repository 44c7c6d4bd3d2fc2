#include "data/model_writer.h"

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "data/atomic_file.h"
#include "data/json_text.h"
#include "data/mapped_file.h"
#include "data/transform_manifest.h"

namespace spq::data {
namespace {

namespace fs = std::filesystem;
using OrderedJson = nlohmann::ordered_json;

constexpr const char* kUnfinished = ".spq-unfinished";
constexpr const char* kConfigFile = "config.json";
constexpr const char* kSingleFile = "model.safetensors";
constexpr const char* kIndexFile = "model.safetensors.index.json";
constexpr const char* kCopiedFiles[] = {"generation_config.json",
                                        "tokenizer.json",
                                        "tokenizer_config.json",
                                        "special_tokens_map.json",
                                        "added_tokens.json",
                                        "tokenizer.model",
                                        "vocab.json",
                                        "merges.txt",
                                        "chat_template.jinja",
                                        "chat_template.json"};

/// The source's config.json with its keys in their order. The head is always written, and it differs from the
/// embedding once the final norm is folded in (formats.md, trap 5).
std::string untied_config(const fs::path& path) {
  check(read_json_file(path).is_object(), "{}: expected a JSON object", path.string());
  const MappedFile file(path);
  const auto* text = reinterpret_cast<const char*>(file.data());
  OrderedJson config = OrderedJson::parse(text, text + file.size());
  config["tie_word_embeddings"] = false;
  return config.dump(2) + "\n";
}

/// The name with every run of digits as one '#'.
std::string without_numbers(const std::string& name) {
  std::string result;
  for (const char c : name) {
    const bool is_digit = '0' <= c && c <= '9';
    if (!is_digit) {
      result += c;
    } else if (!result.ends_with('#')) {
      result += '#';
    }
  }
  return result;
}

/// Model files that an interrupted writer may have left, temporary ones included.
bool is_leftover(const std::string& name) {
  const std::string form = without_numbers(name);
  return name == kSingleFile || name == kIndexFile || name == kConfigFile || name == kManifestFile ||
         form == "model-#-of-#.safetensors" ||
         (form.starts_with('.') && (form.ends_with(".#.partial") || form.ends_with(".#.tmp")));
}

/// An empty folder with our mark in it.
void claim_folder(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  check(!error && fs::is_directory(folder), "{}: cannot make this folder ({})", folder.string(),
        error ? error.message() : "a file is in the way");
  const fs::path mark = folder / kUnfinished;
  if (!fs::exists(mark, error)) {
    check(fs::is_empty(folder, error) && !error, "{}: is not empty, expected a new or empty folder",
          folder.string());
    write_text_atomically(mark, "An unfinished model: spq was interrupted, or is still writing.\n");
    return;
  }
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (is_leftover(entry.path().filename().string())) fs::remove(entry.path(), error);
  }
}

/// Consecutive tensors of at most `max_bytes` together.
std::vector<std::vector<TensorSpec>> split(const std::vector<TensorSpec>& tensors, uint64_t max_bytes) {
  std::vector<std::vector<TensorSpec>> parts;
  uint64_t bytes = 0;
  for (const TensorSpec& t : tensors) {
    if (parts.empty() || bytes + t.bytes() > max_bytes) {
      parts.emplace_back();
      bytes = 0;
    }
    parts.back().push_back(t);
    bytes += t.bytes();
  }
  return parts;
}

}  // namespace

ModelWriter::ModelWriter(const fs::path& source_dir, fs::path model_dir,
                         const std::vector<TensorSpec>& tensors, uint64_t max_shard_bytes)
    : source_dir_(source_dir),
      model_dir_(std::move(model_dir)),
      config_(untied_config(source_dir / kConfigFile)) {
  check(!tensors.empty(), "{}: a model needs tensors", model_dir_.string());
  const auto parts = split(tensors, max_shard_bytes);
  for (size_t i = 0; i < parts.size(); ++i) {
    const std::string file = parts.size() == 1
                                 ? kSingleFile
                                 : fmt::format("model-{:05}-of-{:05}.safetensors", i + 1, parts.size());
    for (const TensorSpec& t : parts[i]) {
      check(shard_of_.emplace(t.name, i).second, "{}: tensor '{}' is given twice", model_dir_.string(),
            t.name);
    }
    shards_.push_back({file, parts[i], nullptr, false});
  }
  claim_folder(model_dir_);
}

ModelWriter::~ModelWriter() = default;

void ModelWriter::write(const std::string& name, const at::Tensor& tensor) {
  const auto found = shard_of_.find(name);
  check(found != shard_of_.end(), "{}: tensor '{}' was not announced", model_dir_.string(), name);
  Shard& shard = shards_[found->second];
  check(!shard.done, "{}: tensor '{}' is written twice", model_dir_.string(), name);
  if (!shard.writer)
    shard.writer = std::make_unique<SafetensorsWriter>(model_dir_ / shard.file, shard.tensors);
  shard.writer->write(name, tensor);
  if (!shard.writer->complete()) return;
  shard.writer->finish();
  shard.writer.reset();
  shard.done = true;
}

void ModelWriter::write_index() const {
  uint64_t total = 0;
  OrderedJson map = OrderedJson::object();
  for (const auto& [name, shard] : shard_of_) map[name] = shards_[shard].file;
  for (const Shard& shard : shards_) {
    for (const TensorSpec& t : shard.tensors) total += t.bytes();
  }
  const OrderedJson index = {{"metadata", {{"total_size", total}}}, {"weight_map", map}};
  write_text_atomically(model_dir_ / kIndexFile, index.dump(2) + "\n");
}

void ModelWriter::finish() {
  for (const Shard& shard : shards_) {
    if (shard.writer) shard.writer->finish();  // fails, and names the tensor
    check(shard.done, "{}: tensor '{}' was never written", model_dir_.string(), shard.tensors.front().name);
  }
  if (shards_.size() > 1) write_index();
  for (const char* name : kCopiedFiles) {
    const fs::path from = source_dir_ / name;
    std::error_code error;
    if (!fs::exists(from, error)) continue;
    write_atomically(model_dir_ / name, [&](const fs::path& temporary) {
      fs::copy_file(from, temporary, fs::copy_options::overwrite_existing, error);
      check(!error, "{}: cannot copy {} ({})", (model_dir_ / name).string(), from.string(), error.message());
    });
  }
  write_text_atomically(model_dir_ / kConfigFile, config_);
  std::error_code error;
  fs::remove(model_dir_ / kUnfinished, error);
  check(!error, "{}: cannot remove {} ({})", model_dir_.string(), kUnfinished, error.message());
}

}  // namespace spq::data
