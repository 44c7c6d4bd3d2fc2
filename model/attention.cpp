#include "model/attention.h"

#include <ATen/ops/_scaled_dot_product_flash_attention_for_cpu.h>
#include <ATen/ops/_scaled_dot_product_flash_attention_for_cpu_backward.h>

namespace spq::model {
namespace {

// [tokens, heads, head_dim] -> [batch, heads, length, head_dim], each key/value head repeated for its query
// heads.
at::Tensor by_head(const at::Tensor& x, const AttentionShape& s) {
  const int64_t heads = x.size(1);
  const int64_t repeat = s.heads / heads;
  at::Tensor y = x.view({s.batch, s.length, heads, s.head_dim});
  if (repeat > 1) {
    y = y.unsqueeze(3)
            .expand({s.batch, s.length, heads, repeat, s.head_dim})
            .reshape({s.batch, s.length, s.heads, s.head_dim});
  }
  return y.transpose(1, 2);
}

// The reverse, gradients of repeated heads added.
at::Tensor by_token(const at::Tensor& x, int64_t heads, const AttentionShape& s) {
  at::Tensor y = x.transpose(1, 2);
  const int64_t repeat = s.heads / heads;
  if (repeat > 1) y = y.reshape({s.batch, s.length, heads, repeat, s.head_dim}).sum(3);
  return y.reshape({s.batch * s.length, heads, s.head_dim}).contiguous();
}

}  // namespace

AttentionResult attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                          const AttentionShape& s) {
  auto [out, logsumexp] = at::_scaled_dot_product_flash_attention_for_cpu(
      by_head(q, s), by_head(k, s), by_head(v, s), /*dropout_p=*/0.0, /*is_causal=*/true);
  return {out.transpose(1, 2).reshape({s.batch * s.length, s.heads * s.head_dim}), logsumexp};
}

AttentionGradients attention_backward(const at::Tensor& grad_out, const at::Tensor& q, const at::Tensor& k,
                                      const at::Tensor& v, const AttentionResult& forward,
                                      const AttentionShape& s) {
  const at::Tensor grad = by_head(grad_out.view({s.batch * s.length, s.heads, s.head_dim}), s);
  const at::Tensor out = by_head(forward.out.view({s.batch * s.length, s.heads, s.head_dim}), s);
  auto [dq, dk, dv] = at::_scaled_dot_product_flash_attention_for_cpu_backward(
      grad, by_head(q, s), by_head(k, s), by_head(v, s), out, forward.logsumexp, /*dropout_p=*/0.0,
      /*is_causal=*/true);
  return {by_token(dq, s.heads, s), by_token(dk, s.kv_heads, s), by_token(dv, s.kv_heads, s)};
}

}  // namespace spq::model
