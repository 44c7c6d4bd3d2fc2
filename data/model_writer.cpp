#include "data/model_writer.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <sstream>
#include <utility>

#include "core/error.h"
#include "data/atomic_file.h"
#include "data/json_text.h"
#include "data/mapped_file.h"
#include "data/safetensors.h"
#include "data/tensor_copy.h"

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

constexpr const char* kMarkTitle = "An unfinished model: spq was interrupted, or is still writing.";

std::string mark_text(const std::string& run) {
  return fmt::format("{}\n{}", kMarkTitle, run);
}

/// Half-written files of a writer that was killed.
bool is_temporary(const std::string& name) {
  return name.starts_with('.') && (name.ends_with(".partial") || name.ends_with(".tmp"));
}

/// The first line in which two texts differ, in both.
std::pair<std::string, std::string> first_difference(const std::string& a, const std::string& b) {
  std::istringstream left(a), right(b);
  std::string x, y;
  do {
    x.clear();
    y.clear();
    std::getline(left, x);
    std::getline(right, y);
  } while (x == y && (left || right));
  const auto shown = [](const std::string& line) { return line.empty() ? "nothing" : line; };
  return {shown(x), shown(y)};
}

bool same_tensors(const SafetensorsFile& file, const ModelWriter::ShardSpec& tensors) {
  if (file.entries().size() != tensors.size()) return false;
  return std::ranges::all_of(tensors, [&](const TensorSpec& t) {
    const auto found = file.entries().find(t.name);
    return found != file.entries().end() && found->second.shape == t.shape &&
           found->second.end - found->second.begin == t.bytes();
  });
}

}  // namespace

ModelWriter::ModelWriter(const fs::path& source_dir, fs::path model_dir, const std::vector<ShardSpec>& shards,
                         const std::string& run)
    : source_dir_(source_dir),
      model_dir_(std::move(model_dir)),
      config_(untied_config(source_dir / kConfigFile)) {
  for (size_t i = 0; i < shards.size(); ++i) {
    check(!shards[i].empty(), "{}: a file of a model needs tensors", model_dir_.string());
    const std::string file = shards.size() == 1
                                 ? kSingleFile
                                 : fmt::format("model-{:05}-of-{:05}.safetensors", i + 1, shards.size());
    for (const TensorSpec& t : shards[i]) {
      check(shard_of_.emplace(t.name, i).second, "{}: tensor '{}' is given twice", model_dir_.string(),
            t.name);
    }
    shards_.push_back({file, shards[i], nullptr, false});
  }
  claim_folder(run);
}

void ModelWriter::claim_folder(const std::string& run) {
  std::error_code error;
  fs::create_directories(model_dir_, error);
  check(!error && fs::is_directory(model_dir_), "{}: cannot make this folder ({})", model_dir_.string(),
        error ? error.message() : "a file is in the way");
  const fs::path mark = model_dir_ / kUnfinished;
  if (fs::exists(mark, error)) {
    lock_.emplace(model_dir_);
    const MappedFile file(mark);
    const std::string found(reinterpret_cast<const char*>(file.data()), file.size());
    const auto [before, now] = first_difference(found, mark_text(run));
    check(found == mark_text(run),
          "{}: holds an unfinished run that differs: '{}' there, '{}' now; undo the change to go on with it, "
          "or delete the folder to start anew",
          model_dir_.string(), before, now);
    keep_finished();
    return;
  }
  for (const auto& entry : fs::directory_iterator(model_dir_)) {
    check(entry.path().filename() == FolderLock::kFileName,
          "{}: is not empty, expected a new or empty folder", model_dir_.string());
  }
  lock_.emplace(model_dir_);
  write_text_atomically(mark, mark_text(run));
}

void ModelWriter::keep_finished() {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(model_dir_)) {
    if (is_temporary(entry.path().filename().string())) fs::remove(entry.path(), error);
  }
  for (Shard& shard : shards_) {
    const fs::path path = model_dir_ / shard.file;
    if (!fs::exists(path, error)) continue;
    check(same_tensors(SafetensorsFile(path), shard.tensors),
          "{}: is not what an interrupted run of this configuration leaves; delete the folder to start anew",
          path.string());
    shard.done = true;
  }
}

ModelWriter::~ModelWriter() = default;

size_t ModelWriter::shard_with(const std::string& name) const {
  const auto found = shard_of_.find(name);
  check(found != shard_of_.end(), "{}: tensor '{}' was not announced", model_dir_.string(), name);
  return found->second;
}

at::Tensor ModelWriter::read(const std::string& name) const {
  const Shard& shard = shards_[shard_with(name)];
  check(shard.done, "{}: tensor '{}' is not written yet", model_dir_.string(), name);
  const auto spec = std::ranges::find(shard.tensors, name, &TensorSpec::name);
  const SafetensorsFile file(model_dir_ / shard.file);
  const TensorEntry& entry = file.entries().at(name);
  at::Tensor result = at::empty(spec->shape, spec->dtype);
  copy_bytes(file.bytes(), entry.begin, entry.end - entry.begin, result.mutable_data_ptr());
  return result;
}

void ModelWriter::write(const std::string& name, const at::Tensor& tensor) {
  Shard& shard = shards_[shard_with(name)];
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
  lock_.reset();
}

}  // namespace spq::data
