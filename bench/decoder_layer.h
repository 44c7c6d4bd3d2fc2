// One decoder layer of LLaMA-3-8B with random weights, and the matrix products that it cannot do without.
#pragma once

#include <ATen/core/Tensor.h>

#include "data/llama_config.h"
#include "model/layer.h"
#include "model/weights.h"

namespace spq::bench {

data::LlamaConfig llama3_8b(int64_t num_layers);

/// 4-bit activations, keys and values.
model::QuantScheme w16a4kv4();

at::Tensor normal(at::IntArrayRef sizes, at::ScalarType dtype, uint64_t seed, double scale = 1);

/// Matrices that keep the size of what they multiply.
model::LayerWeights random_weights(const data::LlamaConfig& config, at::ScalarType dtype, uint64_t seed);

/// Everything that a step of one layer takes; R1 and R2 are random Hadamard matrices, held densely.
struct DecoderLayer {
  DecoderLayer(const data::LlamaConfig& shape, int64_t num_tokens, at::ScalarType compute_dtype);
  model::LayerContext context() const { return {&config, &rope, &scheme, 1, tokens}; }

  data::LlamaConfig config;
  int64_t tokens;
  at::ScalarType dtype;
  model::QuantScheme scheme;
  model::RopeTable rope;
  model::LayerWeights weights;
  at::Tensor r1, r2;  // fp32
  model::LayerFrames frames;
  model::LayerMoments moments;  // fp32 (double for double)
  at::Tensor h, grad_out;       // [tokens, d]
};

/// The products alone, in the layer's dtype, into memory that exists already. Attention is not among them.
class LayerProducts {
 public:
  explicit LayerProducts(const DecoderLayer& layer);
  /// The seven projections.
  void forward();
  /// Gradients of their inputs.
  void gradients();
  /// x R and e R^T at two R1 and two R2 points.
  void rotations();
  /// g^T e at the same points.
  void moments();

 private:
  model::LayerWeights weights_;
  at::Tensor r1_, r2_;
  at::Tensor residual_, residual_out_;  // [tokens, d]
  at::Tensor heads_, heads_out_;        // [tokens, heads * head_dim]
  at::Tensor kv_, kv_out_;              // [tokens, kv_heads * head_dim]
  at::Tensor wide_;                     // [tokens, intermediate]
  at::Tensor moment1_, moment2_;
};

}  // namespace spq::bench
