// One LLaMA decoder layer with quantization points: forward, and the input-gradient backward that also
// collects the moments from which rotations learn (design.md 3). No weight gradient, no rotated weight.
#pragma once

#include <ATen/core/Tensor.h>

#include "data/llama_config.h"
#include "kernels/fake_quant.h"
#include "model/attention.h"
#include "model/frame.h"
#include "model/rope_table.h"
#include "model/weights.h"

namespace spq::model {

/// The quantizer of each point (design.md 2).
struct QuantScheme {
  kernels::QuantSpec residual_input;    // inputs of q/k/v and of gate/up: per token
  kernels::QuantSpec attention_output;  // input of o_proj: per token and head
  kernels::QuantSpec key;               // per token and kv head
  kernels::QuantSpec value;             // per token and kv head
  kernels::QuantSpec down_input;        // input of down_proj: per token
};

/// The frames through which one layer's points look.
struct LayerFrames {
  Frame r1;  // residual stream [d]
  Frame r2;  // heads of value and attention output [head_dim]
  Frame r3;  // keys [head_dim]
  Frame r4;  // down_proj input [intermediate]
};

/// What a layer needs besides its weights; the same for all layers.
struct LayerContext {
  const data::LlamaConfig* config;
  const RopeTable* rope;  // for the sequence length of the batch
  const QuantScheme* scheme;
  int64_t batch;
  int64_t length;
};

/// Kept from forward to backward. T = batch * length.
struct LayerCache {
  at::Tensor h;                          // layer input [T, d]
  at::Tensor residual;                   // after attention [T, d]
  at::Tensor input_error, mlp_error;     // e at the two R1 points [T, d]
  at::Tensor q, k_hat, v_hat;            // [T, heads or kv_heads, head_dim], q and k after RoPE
  at::Tensor value_error, output_error;  // e at the two R2 points
  AttentionResult attention;
  at::Tensor gate, up;  // [T, intermediate]
};

/// M of R1 (shared by the layers) and of this layer's R2. Undefined tensors: that rotation is not learned.
struct LayerMoments {
  at::Tensor r1;  // [d, d]
  at::Tensor r2;  // [head_dim, head_dim]
};

/// The stages of layer_forward, in their order, for callers that look at what projections read. Each takes
/// only the weights that it names and fills its part of `cache` when that is not null.
/// h [T, d] -> x [T, d], the input of q, k and v.
at::Tensor qkv_input(const LayerContext& context, const LayerFrames& frames, const at::Tensor& h,
                     LayerCache* cache = nullptr);
/// x, q, k, v -> [T, heads * head_dim], the input of o.
at::Tensor output_input(const LayerContext& context, const LayerWeights& weights, const LayerFrames& frames,
                        const at::Tensor& x, LayerCache* cache = nullptr);
/// h, x, o -> [T, d], the residual stream after attention.
at::Tensor after_attention(const LayerWeights& weights, const at::Tensor& h, const at::Tensor& x,
                           LayerCache* cache = nullptr);
/// residual [T, d] -> x [T, d], the input of gate and up.
at::Tensor gate_up_input(const LayerContext& context, const LayerFrames& frames, const at::Tensor& residual,
                         LayerCache* cache = nullptr);
/// x, gate, up -> [T, intermediate], the input of down.
at::Tensor down_input(const LayerContext& context, const LayerWeights& weights, const LayerFrames& frames,
                      const at::Tensor& x, LayerCache* cache = nullptr);
/// residual, x, down -> [T, d], the layer's output.
at::Tensor after_mlp(const LayerWeights& weights, const at::Tensor& residual, const at::Tensor& x);

/// All stages: h [T, d] -> [T, d]. Fills `cache` when it is not null.
at::Tensor layer_forward(const LayerContext& context, const LayerWeights& weights, const LayerFrames& frames,
                         const at::Tensor& h, LayerCache* cache);

/// Gradient with respect to h, given that of the output; adds to the moments. Straight-through at every
/// point.
at::Tensor layer_backward(const LayerContext& context, const LayerWeights& weights, const LayerCache& cache,
                          const at::Tensor& grad_out, LayerMoments& moments);

}  // namespace spq::model
