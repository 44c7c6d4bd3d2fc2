// Configuration of the activation quantizers, and the quantizer of each point that follows from it.
#pragma once

#include <cstdint>

namespace spq::data {
struct LlamaConfig;
}

namespace spq::model {

struct QuantScheme;

/// One quantizer. Integers of `bits` bits; 16 means not quantized.
struct QuantizerConfig {
  int64_t bits = 16;       // 2..8, or 16
  bool symmetric = false;  // false: with zero point
  // Values that share a scale along the row; -1: the whole row (token, or token and head).
  int64_t group_size = -1;
  double clip_ratio = 1.0;  // (0, 1]: the range is shrunk by this before the scale is found
};

struct QuantConfig {
  QuantizerConfig activation;  // inputs of q/k/v, o, gate/up and down projections
  QuantizerConfig key;         // after RoPE, per token and head
  QuantizerConfig value;       // output of v_proj, per token and head
  // Width of the input of down_proj, otherwise quantized as `activation`; 0: as activation.bits.
  int64_t down_bits = 0;
};

/// Error naming the key unless groups of activations, keys and values divide the rows that they lie in.
void check_groups(const QuantConfig& quant, const data::LlamaConfig& model);

/// The quantizer of each point, with the published range rules: whole rows and keys include zero in their
/// range, groups, values and the attention output do not. Callers include model/layer.h.
QuantScheme quant_scheme(const QuantConfig& config);

}  // namespace spq::model
