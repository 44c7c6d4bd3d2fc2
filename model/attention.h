// Causal softmax attention with grouped key/value heads, and its gradient.
#pragma once

#include <ATen/core/Tensor.h>

namespace spq::model {

struct AttentionShape {
  int64_t batch;
  int64_t length;  // tokens per sequence
  int64_t heads;
  int64_t kv_heads;  // divides heads
  int64_t head_dim;
};

struct AttentionResult {
  at::Tensor out;  // [batch * length, heads * head_dim]
  // Kept for the backward pass:
  at::Tensor logsumexp;
  at::Tensor random_seed, random_offset;  // nothing is random, but LibTorch's CUDA operators want them back
};

struct AttentionGradients {
  at::Tensor q;  // [batch * length, heads, head_dim]
  at::Tensor k;  // [batch * length, kv_heads, head_dim]
  at::Tensor v;
};

/// softmax(q k^T / sqrt(head_dim), causal) v. q [batch * length, heads, head_dim], k and v with kv_heads;
/// query head h reads key/value head h / (heads / kv_heads). On a GPU: fp32, bf16 or fp16 (head_dim then a
/// multiple of 8 of at most 256); Error for others. Same bits run to run, the backward pass included.
AttentionResult attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                          const AttentionShape& shape);

AttentionGradients attention_backward(const at::Tensor& grad_out, const at::Tensor& q, const at::Tensor& k,
                                      const at::Tensor& v, const AttentionResult& forward,
                                      const AttentionShape& shape);

}  // namespace spq::model
