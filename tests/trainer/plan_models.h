// Sizes of published models, for the planner's tests.
#pragma once

#include <filesystem>

#include "data/llama_config.h"
#include "trainer/config.h"

namespace spq::test {

inline data::LlamaConfig llama3(bool large) {
  data::LlamaConfig c;
  c.hidden_size = large ? 8192 : 4096;
  c.intermediate_size = large ? 28672 : 14336;
  c.num_layers = large ? 80 : 32;
  c.num_heads = large ? 64 : 32;
  c.num_kv_heads = 8;
  c.head_dim = 128;
  c.vocab_size = 128256;
  c.max_position = 8192;
  return c;
}

/// The published recipe: 8 sequences of 2048 tokens.
inline trainer::Config recipe() {
  trainer::Config config;
  config.quant.activation.bits = config.quant.key.bits = config.quant.value.bits = 4;
  return config;
}

inline std::filesystem::path device_table() {
  return std::filesystem::path(SPQ_SOURCE_DIR) / "configs/devices.yaml";
}

}  // namespace spq::test
