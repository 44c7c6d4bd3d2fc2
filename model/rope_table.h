// cos and sin of the rotary embedding for positions 0, 1, ...
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "data/llama_config.h"

namespace spq::model {

struct RopeTable {
  at::Tensor cos;  // [positions, head_dim / 2], fp32 (double when asked for)
  at::Tensor sin;

  /// A copy on `device`.
  RopeTable on(c10::Device device) const;
};

/// inv_freq_j [head_dim / 2] in double: theta^(-2j/head_dim) after the model's scaling rule (llama3: long
/// wavelengths divided by factor, short ones kept, smooth in between).
std::vector<double> rope_frequencies(const data::LlamaConfig& config);

/// In host memory. fp32 angles are formed in fp32 from fp32 frequencies, as Hugging Face forms them.
RopeTable make_rope_table(const data::LlamaConfig& config, int64_t positions,
                          at::ScalarType dtype = at::kFloat);

/// Rotates x [batch * positions, heads, head_dim] in place, or back; the table is where x is.
void apply_rope(at::Tensor& x, const RopeTable& table, bool inverse);

}  // namespace spq::model
