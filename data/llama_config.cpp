#include "data/llama_config.h"

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "data/json_text.h"

namespace spq::data {
namespace {

using Json = nlohmann::json;

constexpr int64_t kMaxSize =
    std::numeric_limits<int32_t>::max();  // products of two sizes then fit into int64_t

/// A JSON object with the place it came from, for messages.
struct Object {
  const Json& json;
  std::string place;  // file, and the key of a nested object

  /// The value of `key`; null when it is absent, since the Python readers treat both alike.
  const Json& at(const char* key) const {
    static const Json kNull;
    const auto found = json.find(key);
    return found == json.end() ? kNull : *found;
  }
  bool has(const char* key) const { return !at(key).is_null(); }
  std::string text(const char* key) const { return shown_json(at(key)); }

  [[noreturn]] void refuse(const char* key, const std::string& expected) const {
    if (!json.contains(key)) fail("{}: no key '{}', expected {}", place, key, expected);
    fail("{}: '{}' is {}, expected {}", place, key, text(key), expected);
  }

  int64_t size(const char* key) const {
    const Json& value = at(key);
    if (!value.is_number_integer() || value < 1 || value > kMaxSize) refuse(key, "a positive integer");
    return value.get<int64_t>();
  }
  int64_t size_or(const char* key, int64_t fallback) const { return has(key) ? size(key) : fallback; }

  double positive(const char* key) const {
    const Json& value = at(key);
    if (!value.is_number() || !std::isfinite(value.get<double>()) || value.get<double>() <= 0) {
      refuse(key, "a positive number");
    }
    return value.get<double>();
  }
  double positive_or(const char* key, double fallback) const { return has(key) ? positive(key) : fallback; }

  bool flag_or(const char* key, bool fallback) const {
    if (!has(key)) return fallback;
    if (!at(key).is_boolean()) refuse(key, "true or false");
    return at(key).get<bool>();
  }
};

void check_architecture(const Object& config) {
  if (config.at("model_type") != "llama") config.refuse("model_type", "\"llama\"");
  if (config.has("architectures") && config.at("architectures") != Json::array({"LlamaForCausalLM"})) {
    config.refuse("architectures", "[\"LlamaForCausalLM\"]");
  }
  for (const char* key : {"attention_bias", "mlp_bias"}) {
    if (config.flag_or(key, false)) config.refuse(key, "false: biases are not supported");
  }
  if (config.has("hidden_act") && config.at("hidden_act") != "silu") config.refuse("hidden_act", "\"silu\"");
  if (config.has("quantization_config")) {
    config.refuse("quantization_config", "none: the model has to be unquantized");
  }
}

/// The rule in `scaling`, an object of the old (rope_scaling) or new (rope_parameters) spelling.
RopeConfig parse_rope_rule(const Object& scaling, double theta) {
  RopeConfig rope;
  rope.theta = theta;
  const char* key = scaling.has("rope_type") || !scaling.has("type") ? "rope_type" : "type";
  const Json& type = scaling.at(key);
  if (type.is_null() && scaling.place.ends_with("rope_parameters")) return rope;
  if (type == "default") return rope;
  if (type == "linear") {
    rope.scaling = RopeConfig::Scaling::kLinear;
  } else if (type == "llama3") {
    rope.scaling = RopeConfig::Scaling::kLlama3;
    rope.low_freq_factor = scaling.positive("low_freq_factor");
    rope.high_freq_factor = scaling.positive("high_freq_factor");
    rope.original_max_position = scaling.size("original_max_position_embeddings");
    if (rope.high_freq_factor <= rope.low_freq_factor) {
      scaling.refuse("high_freq_factor", "more than low_freq_factor " + scaling.text("low_freq_factor"));
    }
  } else {
    scaling.refuse(key, "\"default\", \"linear\" or \"llama3\"");
  }
  rope.factor = scaling.positive("factor");
  if (rope.factor < 1) scaling.refuse("factor", "1 or more");
  return rope;
}

void check_whole_rotation(const Object& object) {
  if (object.has("partial_rotary_factor") && object.at("partial_rotary_factor") != 1.0) {
    object.refuse("partial_rotary_factor", "1: partial rotary embeddings are not supported");
  }
}

RopeConfig parse_rope(const Object& config) {
  constexpr double kDefaultTheta = 10000.0;
  const double theta = config.positive_or("rope_theta", kDefaultTheta);
  check_whole_rotation(config);
  RopeConfig none;
  none.theta = theta;
  const bool is_old = config.has("rope_scaling");
  const bool is_new = config.has("rope_parameters");
  if (!is_old && !is_new) return none;
  check(!(is_old && is_new) || config.at("rope_scaling") == config.at("rope_parameters"),
        "{}: 'rope_scaling' and 'rope_parameters' are both given and differ: {} and {}", config.place,
        config.text("rope_scaling"), config.text("rope_parameters"));
  const char* key = is_new ? "rope_parameters" : "rope_scaling";
  if (!config.at(key).is_object()) config.refuse(key, "an object or null");
  const Object rule{config.at(key), config.place + ": " + key};
  check_whole_rotation(rule);
  return parse_rope_rule(rule, rule.positive_or("rope_theta", theta));
}

void parse_heads(const Object& config, LlamaConfig& result) {
  result.num_heads = config.size("num_attention_heads");
  result.num_kv_heads = config.size_or("num_key_value_heads", result.num_heads);
  check(result.num_heads % result.num_kv_heads == 0,
        "{}: 'num_key_value_heads' is {}, expected a divisor of num_attention_heads {}", config.place,
        result.num_kv_heads, result.num_heads);
  if (config.has("head_dim")) {
    result.head_dim = config.size("head_dim");
  } else {
    check(result.hidden_size % result.num_heads == 0,
          "{}: 'hidden_size' is {}, expected a multiple of num_attention_heads {} (there is no head_dim)",
          config.place, result.hidden_size, result.num_heads);
    result.head_dim = result.hidden_size / result.num_heads;
  }
  check(result.head_dim % 2 == 0, "{}: 'head_dim' is {}, expected an even number", config.place,
        result.head_dim);
}

}  // namespace

LlamaConfig read_llama_config(const std::filesystem::path& model_dir) {
  const std::filesystem::path path = model_dir / "config.json";
  const Json json = read_json_file(path);
  check(json.is_object(), "{}: expected a JSON object", path.string());
  const Object config{json, path.string()};
  check_architecture(config);
  LlamaConfig result;
  result.hidden_size = config.size("hidden_size");
  result.intermediate_size = config.size("intermediate_size");
  result.num_layers = config.size("num_hidden_layers");
  result.vocab_size = config.size("vocab_size");
  parse_heads(config, result);
  result.max_position = config.size_or("max_position_embeddings", 2048);
  result.rms_norm_eps = config.positive_or("rms_norm_eps", 1e-6);
  result.rope = parse_rope(config);
  result.tied_embeddings = config.flag_or("tie_word_embeddings", false);
  return result;
}

}  // namespace spq::data
