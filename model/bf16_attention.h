// The gradient of causal attention from MKL's products of bf16 matrices.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "model/attention.h"

namespace spq::model {

/// Whether bf16_attention_backward takes these queries: bf16, in the memory of a host that multiplies_bf16().
bool has_bf16_attention(const at::Tensor& q);

/// attention_backward of attention.h. Scores, probabilities and all sums are fp32; probabilities and
/// gradients of scores are rounded to bf16 for the products, results once. Threads share the query heads that
/// read one key/value head only where there are more threads than batch * kv_heads: up to there their number
/// changes no bit.
///
/// LLaMA-3-8B, 2048 tokens, two Sapphire Rapids cores: 0.09 s. LibTorch's kernel takes 2.5 times as long: it
/// multiplies smaller blocks, repeats keys and values for their query heads, and adds the gradients in bf16.
AttentionGradients bf16_attention_backward(const at::Tensor& grad_out, const at::Tensor& q,
                                           const at::Tensor& k, const at::Tensor& v,
                                           const AttentionResult& forward, const AttentionShape& shape);

/// Bytes that it allocates beside its results, with this many threads.
int64_t bf16_attention_scratch(const AttentionShape& shape, int threads);

}  // namespace spq::model
