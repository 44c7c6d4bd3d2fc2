#include "data/model_files.h"

#include <ATen/ops/empty.h>
#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "data/json_text.h"
#include "data/safetensors.h"
#include "data/sha256.h"
#include "data/shape_text.h"
#include "data/shown_text.h"
#include "data/tensor_copy.h"

namespace spq::data {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
using WeightMap = std::map<std::string, std::string>;  // tensor -> file name

constexpr const char* kSingleFile = "model.safetensors";
constexpr const char* kIndexFile = "model.safetensors.index.json";
constexpr size_t kFingerprintBytes = 4096;  // at either end of each tensor

/// A name of a file in the same folder, and one that can be printed.
bool is_plain_name(const std::string& name) {
  return !name.empty() && fs::path(name).filename() == name && name != "." && name != ".." &&
         shown(name) == name;
}

WeightMap read_index(const fs::path& path) {
  const Json index = read_json_file(path);
  check(index.is_object() && index.contains("weight_map") && index["weight_map"].is_object(),
        "{}: expected an object with a weight_map", path.string());
  WeightMap map;
  for (const auto& [name, file] : index["weight_map"].items()) {
    check(file.is_string(), "{}: weight_map '{}' is {}, expected a file name", path.string(), shown(name),
          shown_json(file));
    const auto file_name = file.get<std::string>();
    check(is_plain_name(file_name), "{}: weight_map '{}' names '{}', expected a file in the same folder",
          path.string(), shown(name), shown(file_name));
    map.emplace(name, file_name);
  }
  check(!map.empty(), "{}: weight_map is empty", path.string());
  return map;
}

/// Every tensor the index puts into this shard is there, and the shard holds no other.
void check_shard(const SafetensorsFile& shard, const WeightMap& map, const fs::path& index) {
  const std::string file_name = shard.path().filename().string();
  for (const auto& [name, place] : map) {
    check(place != file_name || shard.entries().contains(name),
          "{}: tensor '{}' is not in {}, where {} puts it", index.parent_path().string(), shown(name),
          file_name, index.filename().string());
  }
  for (const auto& [name, entry] : shard.entries()) {
    const auto found = map.find(name);
    check(found != map.end() && found->second == file_name, "{}: holds tensor '{}', which {} {}",
          shard.path().string(), shown(name), index.filename().string(),
          found == map.end() ? "does not list" : "puts into " + found->second);
  }
}

const TensorEntry& entry_of(const SafetensorsFile& file, const std::string& name) {
  return file.entries().at(name);
}

/// Where `name` is. Error naming `model_dir` when it is nowhere.
const SafetensorsFile& file_of(const std::map<std::string, const SafetensorsFile*>& where,
                               const std::string& name, const fs::path& model_dir) {
  const auto found = where.find(name);
  check(found != where.end(), "{}: no tensor '{}' in the model", model_dir.string(), shown(name));
  return *found->second;
}

void check_range(const SafetensorsFile& file, const std::string& name, int64_t begin, int64_t end,
                 int64_t size) {
  check(0 <= begin && begin <= end && end <= size, "{}: tensor '{}': range [{}, {}) is not inside [0, {})",
        file.path().string(), shown(name), begin, end, size);
}

/// A tensor that has rows [begin, end).
const TensorEntry& rows_of(const SafetensorsFile& file, const std::string& name, int64_t begin, int64_t end) {
  const TensorEntry& entry = entry_of(file, name);
  check(!entry.shape.empty(), "{}: tensor '{}' is a scalar, expected a vector or matrix",
        file.path().string(), shown(name));
  check_range(file, name, begin, end, entry.shape[0]);
  return entry;
}

/// A matrix that has columns [begin, end).
const TensorEntry& columns_of(const SafetensorsFile& file, const std::string& name, int64_t begin,
                              int64_t end) {
  const TensorEntry& entry = entry_of(file, name);
  check(entry.shape.size() == 2, "{}: tensor '{}' has shape {}, expected a matrix", file.path().string(),
        shown(name), shape_text(entry.shape));
  check_range(file, name, begin, end, entry.shape[1]);
  return entry;
}

}  // namespace

ModelFiles::ModelFiles(const fs::path& model_dir) : model_dir_(model_dir) {
  std::error_code ignored;
  check(fs::is_directory(model_dir, ignored), "{}: no such folder", model_dir.string());
  const fs::path index = model_dir / kIndexFile;
  // Both present: the single file counts, as in transformers.
  if (fs::exists(model_dir / kSingleFile, ignored)) {
    files_.push_back(std::make_unique<SafetensorsFile>(model_dir / kSingleFile));
  } else {
    check(fs::exists(index, ignored), "{}: holds neither {} nor {}", model_dir.string(), kSingleFile,
          kIndexFile);
    const WeightMap map = read_index(index);
    WeightMap shards;  // file name -> one tensor of it
    for (const auto& [name, file] : map) shards.emplace(file, name);
    for (const auto& [file, name] : shards) {
      check(fs::exists(model_dir / file, ignored), "{}: missing, but {} puts tensor '{}' into it",
            (model_dir / file).string(), kIndexFile, shown(name));
      files_.push_back(std::make_unique<SafetensorsFile>(model_dir / file));
      check_shard(*files_.back(), map, index);
    }
  }
  for (const auto& file : files_) {
    for (const auto& [name, entry] : file->entries()) where_.emplace(name, file.get());
  }
}

ModelFiles::~ModelFiles() = default;
ModelFiles::ModelFiles(ModelFiles&&) noexcept = default;

bool ModelFiles::has(const std::string& name) const {
  return where_.contains(name);
}

std::vector<std::string> ModelFiles::names() const {
  std::vector<std::string> names;
  for (const auto& [name, file] : where_) names.push_back(name);
  return names;
}

const fs::path& ModelFiles::file(const std::string& name) const {
  return file_of(where_, name, model_dir_).path();
}

std::vector<int64_t> ModelFiles::shape(const std::string& name) const {
  return entry_of(file_of(where_, name, model_dir_), name).shape;
}

at::ScalarType ModelFiles::dtype(const std::string& name) const {
  const SafetensorsFile& file = file_of(where_, name, model_dir_);
  const std::string& dtype = entry_of(file, name).dtype;
  if (dtype == "F32") return at::kFloat;
  if (dtype == "F16") return at::kHalf;
  if (dtype == "BF16") return at::kBFloat16;
  fail("{}: tensor '{}' has dtype {}, expected F32, F16 or BF16", file.path().string(), shown(name), dtype);
}

void ModelFiles::expect_shape(const std::string& name, const std::vector<int64_t>& expected) const {
  const SafetensorsFile& file = file_of(where_, name, model_dir_);
  const std::vector<int64_t>& found = entry_of(file, name).shape;
  check(found == expected, "{}: tensor '{}' has shape {}, expected {}", file.path().string(), name,
        shape_text(found), shape_text(expected));
}

at::Tensor ModelFiles::read_rows(const std::string& name, int64_t begin, int64_t end) const {
  const at::ScalarType type = dtype(name);
  std::vector<int64_t> part = rows_of(file_of(where_, name, model_dir_), name, begin, end).shape;
  part[0] = end - begin;
  at::Tensor result = at::empty(part, at::TensorOptions(type));
  copy_rows(name, begin, end, result.data_ptr());
  return result;
}

void ModelFiles::copy_rows(const std::string& name, int64_t begin, int64_t end, void* to) const {
  const SafetensorsFile& file = file_of(where_, name, model_dir_);
  const TensorEntry& entry = rows_of(file, name, begin, end);
  if (begin == end) return;
  const size_t row_bytes = (entry.end - entry.begin) / static_cast<size_t>(entry.shape[0]);
  copy_bytes(file.bytes(), entry.begin + static_cast<size_t>(begin) * row_bytes,
             static_cast<size_t>(end - begin) * row_bytes, to);
}

at::Tensor ModelFiles::read_columns_transposed(const std::string& name, int64_t begin, int64_t end) const {
  const at::ScalarType type = dtype(name);
  const TensorEntry& entry = columns_of(file_of(where_, name, model_dir_), name, begin, end);
  at::Tensor result = at::empty({end - begin, entry.shape[0]}, at::TensorOptions(type));
  copy_columns_transposed(name, begin, end, result.data_ptr());
  return result;
}

void ModelFiles::copy_columns_transposed(const std::string& name, int64_t begin, int64_t end,
                                         void* to) const {
  const size_t element_size = c10::elementSize(dtype(name));
  const SafetensorsFile& file = file_of(where_, name, model_dir_);
  const TensorEntry& entry = columns_of(file, name, begin, end);
  data::copy_columns_transposed({&file.bytes(), entry.begin, entry.shape[0], entry.shape[1], element_size},
                                begin, end, to);
}

at::Tensor ModelFiles::read(const std::string& name) const {
  const std::vector<int64_t> whole = shape(name);
  return read_rows(name, 0, whole.empty() ? 0 : whole[0]);
}

std::string ModelFiles::fingerprint() const {
  Sha256 hash;
  for (const auto& [name, file] : where_) {
    const TensorEntry& entry = entry_of(*file, name);
    const size_t part = std::min(kFingerprintBytes, entry.end - entry.begin);
    hash.update(fmt::format("{} {} {}\n", name, entry.dtype, shape_text(entry.shape)));
    hash.update(file->bytes().data() + entry.begin, part);
    hash.update(file->bytes().data() + entry.end - part, part);
  }
  return hash.finish();
}

}  // namespace spq::data
