#include "model/attention.h"

#include <ATen/ops/_scaled_dot_product_efficient_attention.h>
#include <ATen/ops/_scaled_dot_product_efficient_attention_backward.h>
#include <ATen/ops/_scaled_dot_product_flash_attention.h>
#include <ATen/ops/_scaled_dot_product_flash_attention_backward.h>
#include <ATen/ops/_scaled_dot_product_flash_attention_for_cpu.h>
#include <ATen/ops/_scaled_dot_product_flash_attention_for_cpu_backward.h>

#include <tuple>

#include "core/error.h"
#include "model/bf16_attention.h"
#include "model/cuda_settings.h"

namespace spq::model {
namespace {

// Which of LibTorch's operators does the work. kFlash reads grouped key/value heads as they are; the others
// get each one repeated for its query heads.
enum class Operator { kCpu, kFlash, kEfficient };

Operator operator_for(const at::Tensor& q) {
  if (!q.is_cuda()) return Operator::kCpu;
  if (q.scalar_type() == at::kBFloat16 || q.scalar_type() == at::kHalf) return Operator::kFlash;
  check(q.scalar_type() == at::kFloat, "no attention on a GPU for dtype {}, expected Float, BFloat16 or Half",
        c10::toString(q.scalar_type()));
  return Operator::kEfficient;
}

// [tokens, heads, head_dim] -> [batch, heads, length, head_dim], a view.
at::Tensor by_head(const at::Tensor& x, const AttentionShape& s) {
  return x.view({s.batch, s.length, x.size(1), s.head_dim}).transpose(1, 2);
}

// The same with each key/value head repeated for its query heads.
at::Tensor by_query_head(const at::Tensor& x, const AttentionShape& s) {
  const int64_t heads = x.size(1);
  const int64_t repeat = s.heads / heads;
  if (repeat == 1) return by_head(x, s);
  return x.view({s.batch, s.length, heads, s.head_dim})
      .unsqueeze(3)
      .expand({s.batch, s.length, heads, repeat, s.head_dim})
      .reshape({s.batch, s.length, s.heads, s.head_dim})
      .transpose(1, 2);
}

// The reverse, gradients of repeated heads added.
at::Tensor by_token(const at::Tensor& x, int64_t heads, const AttentionShape& s) {
  at::Tensor y = x.transpose(1, 2);
  const int64_t repeat = x.size(1) / heads;
  if (repeat > 1) y = y.reshape({s.batch, s.length, heads, repeat, s.head_dim}).sum(3);
  return y.reshape({s.batch * s.length, heads, s.head_dim}).contiguous();
}

using Gradients = std::tuple<at::Tensor, at::Tensor, at::Tensor>;

Gradients flash_backward(const at::Tensor& grad, const at::Tensor& q, const at::Tensor& k,
                         const at::Tensor& v, const at::Tensor& out, const AttentionResult& forward,
                         const AttentionShape& s) {
  const FixedOrderAttention fixed_order;
  return at::_scaled_dot_product_flash_attention_backward(
      grad, by_head(q, s), by_head(k, s), by_head(v, s), out, forward.logsumexp, /*cum_seq_q=*/{},
      /*cum_seq_k=*/{}, s.length, s.length, /*dropout_p=*/0.0, /*is_causal=*/true, forward.random_seed,
      forward.random_offset);
}

Gradients efficient_backward(const at::Tensor& grad, const at::Tensor& q, const at::Tensor& k,
                             const at::Tensor& v, const at::Tensor& out, const AttentionResult& forward,
                             const AttentionShape& s) {
  const FixedOrderAttention fixed_order;
  auto [dq, dk, dv, no_bias] = at::_scaled_dot_product_efficient_attention_backward(
      grad, by_head(q, s), by_query_head(k, s), by_query_head(v, s), /*attn_bias=*/{}, out, forward.logsumexp,
      forward.random_seed, forward.random_offset, /*dropout_p=*/0.0, {true, true, true, false},
      /*is_causal=*/true);
  return {dq, dk, dv};
}

}  // namespace

AttentionResult attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                          const AttentionShape& s) {
  AttentionResult result;
  switch (operator_for(q)) {
    case Operator::kCpu:
      std::tie(result.out, result.logsumexp) = at::_scaled_dot_product_flash_attention_for_cpu(
          by_head(q, s), by_query_head(k, s), by_query_head(v, s), /*dropout_p=*/0.0, /*is_causal=*/true);
      break;
    case Operator::kFlash: {
      auto flash = at::_scaled_dot_product_flash_attention(by_head(q, s), by_head(k, s), by_head(v, s),
                                                           /*dropout_p=*/0.0, /*is_causal=*/true);
      result = {std::get<0>(flash), std::get<1>(flash), std::get<6>(flash), std::get<7>(flash)};
      break;
    }
    case Operator::kEfficient:
      std::tie(result.out, result.logsumexp, result.random_seed, result.random_offset) =
          at::_scaled_dot_product_efficient_attention(
              by_head(q, s), by_query_head(k, s), by_query_head(v, s), /*attn_bias=*/{},
              /*compute_log_sumexp=*/true, /*dropout_p=*/0.0, /*is_causal=*/true);
      break;
  }
  result.out = result.out.transpose(1, 2).reshape({s.batch * s.length, s.heads * s.head_dim});
  return result;
}

AttentionGradients attention_backward(const at::Tensor& grad_out, const at::Tensor& q, const at::Tensor& k,
                                      const at::Tensor& v, const AttentionResult& forward,
                                      const AttentionShape& s) {
  if (has_bf16_attention(q)) return bf16_attention_backward(grad_out, q, k, v, forward, s);
  const at::Tensor grad = by_head(grad_out.view({s.batch * s.length, s.heads, s.head_dim}), s);
  const at::Tensor out = by_head(forward.out.view({s.batch * s.length, s.heads, s.head_dim}), s);
  Gradients d;
  switch (operator_for(q)) {
    case Operator::kCpu:
      d = at::_scaled_dot_product_flash_attention_for_cpu_backward(
          grad, by_head(q, s), by_query_head(k, s), by_query_head(v, s), out, forward.logsumexp,
          /*dropout_p=*/0.0, /*is_causal=*/true);
      break;
    case Operator::kFlash:
      d = flash_backward(grad, q, k, v, out, forward, s);
      break;
    case Operator::kEfficient:
      d = efficient_backward(grad, q, k, v, out, forward, s);
      break;
  }
  const auto& [dq, dk, dv] = d;
  return {by_token(dq, s.heads, s), by_token(dk, s.kv_heads, s), by_token(dv, s.kv_heads, s)};
}

}  // namespace spq::model
