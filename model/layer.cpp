#include "model/layer.h"

#include <utility>

#include "model/norm.h"
#include "model/product.h"
#include "model/quant_point.h"
#include "model/swiglu.h"

namespace spq::model {
namespace {

AttentionShape attention_shape(const LayerContext& c) {
  return {c.batch, c.length, c.config->num_heads, c.config->num_kv_heads, c.config->head_dim};
}

at::Tensor mlp_backward(const LayerContext& c, const LayerWeights& w, const LayerCache& keep,
                        const at::Tensor& grad_out, LayerMoments& moments) {
  const at::Tensor grad_product = product(grad_out, w.down_t.t());
  const SwigluGradients grad = swiglu_backward(keep.gate, keep.up, grad_product);
  const at::Tensor grad_input = product_sum({}, {{grad.gate, w.gate}, {grad.up, w.up}});
  if (moments.r1.defined()) accumulate_moment(moments.r1, grad_input, keep.mlp_error);
  at::Tensor grad_residual = grad_out.clone();
  rms_norm_backward_add(keep.residual, grad_input, grad_residual, c.config->rms_norm_eps);
  return grad_residual;
}

at::Tensor attention_block_backward(const LayerContext& c, const LayerWeights& w, const LayerCache& keep,
                                    at::Tensor grad_residual, LayerMoments& moments) {
  const int64_t tokens = grad_residual.size(0);
  const at::Tensor grad_attention = product(grad_residual, w.o_t.t());
  if (moments.r2.defined()) accumulate_moment(moments.r2, grad_attention, keep.output_error);
  AttentionGradients grad =
      attention_backward(grad_attention, keep.q, keep.k_hat, keep.v_hat, keep.attention, attention_shape(c));
  if (moments.r2.defined()) accumulate_moment(moments.r2, grad.v, keep.value_error);
  apply_rope(grad.q, *c.rope, /*inverse=*/true);
  apply_rope(grad.k, *c.rope, /*inverse=*/true);
  const at::Tensor grad_input = product_sum(
      {},
      {{grad.q.view({tokens, -1}), w.q}, {grad.k.view({tokens, -1}), w.k}, {grad.v.view({tokens, -1}), w.v}});
  if (moments.r1.defined()) accumulate_moment(moments.r1, grad_input, keep.input_error);
  rms_norm_backward_add(keep.h, grad_input, grad_residual, c.config->rms_norm_eps);
  return grad_residual;
}

}  // namespace

at::Tensor qkv_input(const LayerContext& c, const LayerFrames& f, const at::Tensor& h, LayerCache* cache) {
  PointResult input = quantize_normed(h, c.config->rms_norm_eps, f.r1, c.scheme->residual_input);
  if (cache) {
    cache->h = h;
    cache->input_error = std::move(input.error);
  }
  return input.x_hat;
}

// Attention with its points: key (R3), value and output (R2).
at::Tensor output_input(const LayerContext& c, const LayerWeights& w, const LayerFrames& f,
                        const at::Tensor& x, LayerCache* cache) {
  LayerCache local;
  LayerCache& keep = cache ? *cache : local;
  const int64_t tokens = x.size(0);
  const int64_t head_dim = c.config->head_dim;
  const QuantScheme& scheme = *c.scheme;

  keep.q = product(x, w.q.t()).view({tokens, -1, head_dim});
  at::Tensor k = product(x, w.k.t()).view({tokens, -1, head_dim});
  const at::Tensor v = product(x, w.v.t()).view({tokens, -1, head_dim});
  apply_rope(keep.q, *c.rope, /*inverse=*/false);
  apply_rope(k, *c.rope, /*inverse=*/false);

  keep.k_hat = quantize_values(k, f.r3, scheme.key);
  const PointResult value = quantize_point(v, f.r2, scheme.value);
  keep.v_hat = value.x_hat;
  keep.value_error = value.error;
  keep.attention = attention(keep.q, keep.k_hat, keep.v_hat, attention_shape(c));

  const PointResult output =
      quantize_point(keep.attention.out.view({tokens, -1, head_dim}), f.r2, scheme.attention_output);
  keep.output_error = output.error;
  return output.x_hat.view({tokens, -1});
}

at::Tensor after_attention(const LayerWeights& w, const at::Tensor& h, const at::Tensor& x,
                           LayerCache* cache) {
  at::Tensor residual = product_sum(h, {{x, w.o_t}});
  if (cache) cache->residual = residual;
  return residual;
}

at::Tensor gate_up_input(const LayerContext& c, const LayerFrames& f, const at::Tensor& residual,
                         LayerCache* cache) {
  PointResult input = quantize_normed(residual, c.config->rms_norm_eps, f.r1, c.scheme->residual_input);
  if (cache) cache->mlp_error = std::move(input.error);
  return input.x_hat;
}

// SwiGLU and the point behind it (R4).
at::Tensor down_input(const LayerContext& c, const LayerWeights& w, const LayerFrames& f, const at::Tensor& x,
                      LayerCache* cache) {
  const at::Tensor gate = product(x, w.gate.t());
  const at::Tensor up = product(x, w.up.t());
  if (cache) {
    cache->gate = gate;
    cache->up = up;
  }
  return quantize_values(swiglu(gate, up), f.r4, c.scheme->down_input);
}

at::Tensor after_mlp(const LayerWeights& w, const at::Tensor& residual, const at::Tensor& x) {
  return product_sum(residual, {{x, w.down_t}});
}

at::Tensor layer_forward(const LayerContext& context, const LayerWeights& weights, const LayerFrames& frames,
                         const at::Tensor& h, LayerCache* cache) {
  at::Tensor x = qkv_input(context, frames, h, cache);
  x = output_input(context, weights, frames, x, cache);
  const at::Tensor residual = after_attention(weights, h, x, cache);
  x = gate_up_input(context, frames, residual, cache);
  x = down_input(context, weights, frames, x, cache);
  return after_mlp(weights, residual, x);
}

at::Tensor layer_backward(const LayerContext& context, const LayerWeights& weights, const LayerCache& cache,
                          const at::Tensor& grad_out, LayerMoments& moments) {
  const at::Tensor grad_residual = mlp_backward(context, weights, cache, grad_out, moments);
  return attention_block_backward(context, weights, cache, grad_residual, moments);
}

}  // namespace spq::model
