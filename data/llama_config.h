// config.json of a Hugging Face LLaMA: the fields that change the arithmetic.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

namespace spq::data {

/// Rotary embedding parameters. inv_freq_j = theta^(-2j/head_dim), then the llama3 or linear rule when
/// scaled.
struct RopeConfig {
  enum class Scaling { kNone, kLinear, kLlama3 };
  double theta = 10000.0;
  Scaling scaling = Scaling::kNone;
  double factor = 1.0;                   // linear and llama3
  double low_freq_factor = 1.0;          // llama3
  double high_freq_factor = 4.0;         // llama3
  int64_t original_max_position = 8192;  // llama3
};

struct LlamaConfig {
  int64_t hidden_size = 0;
  int64_t intermediate_size = 0;
  int64_t num_layers = 0;
  int64_t num_heads = 0;
  int64_t num_kv_heads = 0;
  int64_t head_dim = 0;
  int64_t vocab_size = 0;
  int64_t max_position = 0;
  double rms_norm_eps = 1e-6;
  RopeConfig rope;
  bool tied_embeddings = false;
};

/// Reads `model_dir`/config.json: old and new RoPE spelling, head_dim given, null or derived, GQA, tied
/// embeddings. Error (naming file, key, found, expected) on: unreadable or malformed JSON, another
/// architecture or model_type, missing keys, sizes that do not fit one another, biases, hidden_act other than
/// silu, RoPE types other than default, linear, llama3.
LlamaConfig read_llama_config(const std::filesystem::path& model_dir);

}  // namespace spq::data
