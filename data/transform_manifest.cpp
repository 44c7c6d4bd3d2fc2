#include "data/transform_manifest.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>

#include "core/error.h"
#include "data/atomic_file.h"
#include "data/json_text.h"
#include "data/sha256.h"
#include "data/shape_text.h"
#include "data/shown_text.h"

namespace spq::data {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
using OrderedJson = nlohmann::ordered_json;

constexpr int64_t kVersion = 2;
constexpr size_t kSha256Digits = 64;
constexpr int64_t kMinBits = 2;
constexpr int64_t kMaxBits = 8;
constexpr int64_t kNotQuantized = 16;
constexpr const char* kProjections[] = {"q_proj",    "k_proj",  "v_proj",   "o_proj",
                                        "gate_proj", "up_proj", "down_proj"};

OrderedJson merged_json(const std::optional<std::string>& sha256) {
  OrderedJson json = {{"merged", sha256.has_value()}};
  if (sha256) json["sha256"] = *sha256;
  return json;
}

OrderedJson r4_json(const std::optional<TransformManifest::FoldedHadamard>& r4) {
  if (!r4) return {{"folded", false}};
  return {{"folded", true}, {"block", r4->block}, {"factor", r4->factor}, {"online_needed", true}};
}

OrderedJson weights_json(const std::optional<TransformManifest::WeightQuantization>& weights) {
  if (!weights) return nullptr;
  return {{"method", weights->method},
          {"bits", weights->bits},
          {"other_bits", OrderedJson(weights->other_bits)},
          {"group_size", weights->group_size},
          {"symmetric", weights->symmetric},
          {"integers", weights->integers}};
}

/// An object of the file that has to hold the keys asked for, and no others.
class StrictObject {
 public:
  StrictObject(const Json& json, std::string place) : json_(json), place_(std::move(place)) {
    check(json.is_object(), "{}: found {}, expected an object", place_, shown_json(json));
  }

  const Json& at(const char* key) {
    const auto found = json_.find(key);
    check(found != json_.end(), "{}: no key '{}'", place_, key);
    known_.insert(key);
    return *found;
  }
  bool has(const char* key) const { return json_.contains(key); }
  bool flag(const char* key) {
    if (!at(key).is_boolean()) refuse(key, "true or false");
    return at(key).get<bool>();
  }
  std::string text(const char* key) {
    if (!at(key).is_string() || at(key).get_ref<const std::string&>().empty()) refuse(key, "a text");
    return at(key).get<std::string>();
  }
  std::string sha256(const char* key) {
    std::string digits = text(key);
    const auto is_digit = [](char c) { return ('0' <= c && c <= '9') || ('a' <= c && c <= 'f'); };
    if (digits.size() != kSha256Digits || !std::ranges::all_of(digits, is_digit)) refuse(key, "a SHA-256");
    return digits;
  }
  int64_t integer(const char* key) {
    const Json& value = at(key);
    // Larger ones would wrap around to negative numbers.
    const bool fits = !value.is_number_unsigned() ||
                      value.get<uint64_t>() <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
    if (!value.is_number_integer() || !fits) refuse(key, "an integer");
    return value.get<int64_t>();
  }
  StrictObject object(const char* key) { return {at(key), fmt::format("{}: {}", place_, key)}; }
  [[noreturn]] void refuse(const char* key, const std::string& expected) {
    fail("{}: '{}' is {}, expected {}", place_, key, shown_json(at(key)), expected);
  }
  /// Call after the last key was asked for.
  void check_no_more() const {
    for (const auto& [key, value] : json_.items()) {
      check(known_.contains(key), "{}: unknown key '{}'", place_, shown(key));
    }
  }

 private:
  const Json& json_;
  std::string place_;
  std::set<std::string> known_;
};

std::optional<std::string> parse_merged(StrictObject object) {
  std::optional<std::string> sha256;
  if (object.flag("merged")) sha256 = object.sha256("sha256");
  object.check_no_more();
  return sha256;
}

std::optional<TransformManifest::FoldedHadamard> parse_r4(StrictObject object) {
  std::optional<TransformManifest::FoldedHadamard> r4;
  if (object.flag("folded")) {
    r4 = {object.integer("block"), object.integer("factor")};
    if (r4->block < 1) object.refuse("block", "a positive integer");
    if (r4->factor < 1 || r4->block % r4->factor != 0) {
      object.refuse("factor", fmt::format("a divisor of the block {}", r4->block));
    }
    if (!object.flag("online_needed")) object.refuse("online_needed", "true: the transform is folded");
  }
  object.check_no_more();
  return r4;
}

std::map<std::string, int64_t> parse_other_bits(StrictObject object) {
  std::map<std::string, int64_t> bits;
  for (const char* projection : kProjections) {
    if (!object.has(projection)) continue;
    const int64_t found = object.integer(projection);
    if ((found < kMinBits || found > kMaxBits) && found != kNotQuantized) {
      object.refuse(projection, fmt::format("{} to {}, or {}", kMinBits, kMaxBits, kNotQuantized));
    }
    bits[projection] = found;
  }
  object.check_no_more();
  return bits;
}

TransformManifest::WeightQuantization parse_weights(StrictObject object) {
  TransformManifest::WeightQuantization weights;
  weights.method = object.text("method");
  weights.bits = object.integer("bits");
  weights.other_bits = parse_other_bits(object.object("other_bits"));
  weights.group_size = object.integer("group_size");
  weights.symmetric = object.flag("symmetric");
  weights.integers = object.flag("integers");
  if (weights.bits < kMinBits || weights.bits > kMaxBits) {
    object.refuse("bits", fmt::format("{} to {}", kMinBits, kMaxBits));
  }
  if (weights.group_size != -1 && weights.group_size < 1) {
    object.refuse("group_size", "a positive integer, or -1 for whole channels");
  }
  object.check_no_more();
  return weights;
}

}  // namespace

std::string rotation_sha256(std::span<const at::Tensor> rotations) {
  Sha256 hash;
  for (const at::Tensor& rotation : rotations) {
    SPQ_ASSERT(rotation.scalar_type() == at::kFloat);
    const at::Tensor values = rotation.contiguous();
    hash.update(shape_text(values.sizes()));
    hash.update(values.const_data_ptr(), values.nbytes());
  }
  return hash.finish();
}

std::string describe(const TransformManifest& manifest) {
  std::string text;
  const auto add = [&](bool done, const std::string& what) {
    if (done) text += (text.empty() ? "" : ", ") + what;
  };
  add(manifest.norms_folded, "norms folded");
  add(manifest.embedding_centred, "embedding centred");
  add(manifest.r1_sha256.has_value(), "R1 merged");
  add(manifest.r2_sha256.has_value(), "R2 merged");
  add(manifest.r4.has_value(), "R4 folded into down_proj");
  if (manifest.weights) {
    std::string others;
    for (const auto& [projection, bits] : manifest.weights->other_bits) {
      others += fmt::format(", {} to {}", projection, bits);
    }
    add(true, fmt::format("weights quantized to {} bits by {}{}", manifest.weights->bits,
                          manifest.weights->method, others));
  }
  return text.empty() ? "nothing" : text;
}

void write_manifest(const fs::path& model_dir, const TransformManifest& manifest) {
  const OrderedJson json = {{"version", kVersion},
                            {"norms_folded", manifest.norms_folded},
                            {"embedding_centred", manifest.embedding_centred},
                            {"r1", merged_json(manifest.r1_sha256)},
                            {"r2", merged_json(manifest.r2_sha256)},
                            {"r3", {{"online", manifest.r3_online}}},
                            {"r4", r4_json(manifest.r4)},
                            {"weights", weights_json(manifest.weights)},
                            {"source_fingerprint", manifest.source_fingerprint},
                            {"spq_version", manifest.spq_version}};
  write_text_atomically(model_dir / kManifestFile, json.dump(2) + "\n");
}

std::optional<TransformManifest> read_manifest(const fs::path& model_dir) {
  const fs::path path = model_dir / kManifestFile;
  std::error_code ignored;
  if (!fs::exists(fs::symlink_status(path, ignored))) return std::nullopt;
  const Json json = read_json_file(path);
  StrictObject file(json, path.string());
  // First: a file of another version may have other keys.
  if (file.integer("version") != kVersion) file.refuse("version", std::to_string(kVersion));
  TransformManifest manifest;
  manifest.norms_folded = file.flag("norms_folded");
  manifest.embedding_centred = file.flag("embedding_centred");
  manifest.r1_sha256 = parse_merged(file.object("r1"));
  manifest.r2_sha256 = parse_merged(file.object("r2"));
  StrictObject r3 = file.object("r3");
  manifest.r3_online = r3.flag("online");
  r3.check_no_more();
  manifest.r4 = parse_r4(file.object("r4"));
  if (!file.at("weights").is_null()) manifest.weights = parse_weights(file.object("weights"));
  manifest.source_fingerprint = file.sha256("source_fingerprint");
  manifest.spq_version = file.text("spq_version");
  file.check_no_more();
  if (manifest.r1_sha256 && !manifest.norms_folded) {
    file.refuse("norms_folded", "true: R1 can only be merged behind folded norms");
  }
  return manifest;
}

}  // namespace spq::data
