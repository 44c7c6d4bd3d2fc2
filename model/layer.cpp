#include "model/layer.h"

#include <ATen/ops/addmm.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/silu_backward.h>

#include "model/norm.h"
#include "model/quant_point.h"

namespace spq::model {
namespace {

AttentionShape attention_shape(const LayerContext& c) {
  return {c.batch, c.length, c.config->num_heads, c.config->num_kv_heads, c.config->head_dim};
}

void observe(const LayerContext& c, Projection projection, const at::Tensor& x) {
  if (c.observer) (*c.observer)(projection, x);
}

// Attention with its points: q/k/v input (R1), key (R3), value and output (R2). Returns what o_proj reads.
at::Tensor attention_block(const LayerContext& c, const LayerWeights& w, const LayerFrames& f,
                           LayerCache& keep) {
  const int64_t tokens = keep.h.size(0);
  const int64_t head_dim = c.config->head_dim;
  const QuantScheme& scheme = *c.scheme;

  const PointResult input =
      quantize_point(rms_norm(keep.h, c.config->rms_norm_eps), f.r1, scheme.residual_input);
  keep.input_error = input.error;
  observe(c, Projection::kQkv, input.x_hat);
  keep.q = at::mm(input.x_hat, w.q.t()).view({tokens, -1, head_dim});
  at::Tensor k = at::mm(input.x_hat, w.k.t()).view({tokens, -1, head_dim});
  const at::Tensor v = at::mm(input.x_hat, w.v.t()).view({tokens, -1, head_dim});
  apply_rope(keep.q, *c.rope, /*inverse=*/false);
  apply_rope(k, *c.rope, /*inverse=*/false);

  keep.k_hat = quantize_point(k, f.r3, scheme.key).x_hat;
  const PointResult value = quantize_point(v, f.r2, scheme.value);
  keep.v_hat = value.x_hat;
  keep.value_error = value.error;
  keep.attention = attention(keep.q, keep.k_hat, keep.v_hat, attention_shape(c));

  const PointResult output =
      quantize_point(keep.attention.out.view({tokens, -1, head_dim}), f.r2, scheme.attention_output);
  keep.output_error = output.error;
  const at::Tensor x = output.x_hat.view({tokens, -1});
  observe(c, Projection::kOutput, x);
  return x;
}

// SwiGLU with its points: gate/up input (R1), down input (R4). Returns what down_proj reads.
at::Tensor mlp_block(const LayerContext& c, const LayerWeights& w, const LayerFrames& f, LayerCache& keep) {
  const PointResult input =
      quantize_point(rms_norm(keep.residual, c.config->rms_norm_eps), f.r1, c.scheme->residual_input);
  keep.mlp_error = input.error;
  observe(c, Projection::kGateUp, input.x_hat);
  keep.gate = at::mm(input.x_hat, w.gate.t());
  keep.up = at::mm(input.x_hat, w.up.t());
  const at::Tensor x = quantize_point(at::silu(keep.gate).mul_(keep.up), f.r4, c.scheme->down_input).x_hat;
  observe(c, Projection::kDown, x);
  return x;
}

at::Tensor mlp_backward(const LayerContext& c, const LayerWeights& w, const LayerCache& keep,
                        const at::Tensor& grad_out, LayerMoments& moments) {
  const at::Tensor grad_product = at::mm(grad_out, w.down_t.t());
  const at::Tensor grad_up = at::silu(keep.gate).mul_(grad_product);
  const at::Tensor grad_gate = at::silu_backward(at::mul(grad_product, keep.up), keep.gate);
  at::Tensor grad_input = at::mm(grad_gate, w.gate);
  grad_input.addmm_(grad_up, w.up);
  if (moments.r1.defined()) accumulate_moment(moments.r1, grad_input, keep.mlp_error);
  at::Tensor grad_residual = grad_out.clone();
  rms_norm_backward_add(keep.residual, grad_input, grad_residual, c.config->rms_norm_eps);
  return grad_residual;
}

at::Tensor attention_block_backward(const LayerContext& c, const LayerWeights& w, const LayerCache& keep,
                                    at::Tensor grad_residual, LayerMoments& moments) {
  const int64_t tokens = grad_residual.size(0);
  const at::Tensor grad_attention = at::mm(grad_residual, w.o_t.t());
  if (moments.r2.defined()) accumulate_moment(moments.r2, grad_attention, keep.output_error);
  AttentionGradients grad =
      attention_backward(grad_attention, keep.q, keep.k_hat, keep.v_hat, keep.attention, attention_shape(c));
  if (moments.r2.defined()) accumulate_moment(moments.r2, grad.v, keep.value_error);
  apply_rope(grad.q, *c.rope, /*inverse=*/true);
  apply_rope(grad.k, *c.rope, /*inverse=*/true);
  at::Tensor grad_input = at::mm(grad.q.view({tokens, -1}), w.q);
  grad_input.addmm_(grad.k.view({tokens, -1}), w.k);
  grad_input.addmm_(grad.v.view({tokens, -1}), w.v);
  if (moments.r1.defined()) accumulate_moment(moments.r1, grad_input, keep.input_error);
  rms_norm_backward_add(keep.h, grad_input, grad_residual, c.config->rms_norm_eps);
  return grad_residual;
}

}  // namespace

at::Tensor layer_forward(const LayerContext& context, const LayerWeights& weights, const LayerFrames& frames,
                         const at::Tensor& h, LayerCache* cache) {
  LayerCache local;
  LayerCache& keep = cache ? *cache : local;
  keep.h = h;
  keep.residual = at::addmm(h, attention_block(context, weights, frames, keep), weights.o_t);
  if (!cache) {  // attention's tensors are not needed any more
    LayerCache rest;
    rest.residual = keep.residual;
    local = rest;
  }
  return at::addmm(keep.residual, mlp_block(context, weights, frames, keep), weights.down_t);
}

at::Tensor layer_backward(const LayerContext& context, const LayerWeights& weights, const LayerCache& cache,
                          const at::Tensor& grad_out, LayerMoments& moments) {
  const at::Tensor grad_residual = mlp_backward(context, weights, cache, grad_out, moments);
  return attention_block_backward(context, weights, cache, grad_residual, moments);
}

}  // namespace spq::model
