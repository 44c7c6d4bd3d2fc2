// One LLaMA decoder layer with quantization points: forward, and the input-gradient backward that also
// collects the moments from which rotations learn (design.md 3). No weight gradient, no rotated weight.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>

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

/// Projections that read the same tensor.
enum class Projection { kQkv, kOutput, kGateUp, kDown };

/// Is shown the input x [T, in] of each group of projections, as they read it, in their order.
using InputObserver = std::function<void(Projection, const at::Tensor& x)>;

/// What a layer needs besides its weights; the same for all layers.
struct LayerContext {
  const data::LlamaConfig* config;
  const RopeTable* rope;  // for the sequence length of the batch
  const QuantScheme* scheme;
  int64_t batch;
  int64_t length;
  const InputObserver* observer = nullptr;  // calibration looks through it
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

/// h [T, d] -> [T, d]. Fills `cache` when it is not null.
at::Tensor layer_forward(const LayerContext& context, const LayerWeights& weights, const LayerFrames& frames,
                         const at::Tensor& h, LayerCache* cache);

/// Gradient with respect to h, given that of the output; adds to the moments. Straight-through at every
/// point.
at::Tensor layer_backward(const LayerContext& context, const LayerWeights& weights, const LayerCache& cache,
                          const at::Tensor& grad_out, LayerMoments& moments);

}  // namespace spq::model
