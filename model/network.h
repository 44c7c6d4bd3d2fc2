// The network of one step: quantizers, rotations as frames, and the forward walk.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "data/llama_config.h"
#include "data/rotations.h"
#include "model/layer.h"
#include "model/loss.h"
#include "model/weights.h"

namespace spq::model {

/// Which online transforms are on.
struct OnlineTransforms {
  bool r3_hadamard = true;
  bool r4_hadamard = true;
};

/// Frames of every layer, rotations cast once to the compute dtype.
class NetworkFrames {
 public:
  /// No rotation anywhere: full precision, or the "no rotation" baseline.
  NetworkFrames() = default;
  /// R1 and R2 from `rotations` (undefined tensors: none).
  NetworkFrames(const data::LlamaConfig& config, const data::Rotations& rotations,
                const OnlineTransforms& online, at::ScalarType compute_dtype);
  /// The same frames in every layer: of a model whose R1 and R2 are merged into the weights.
  explicit NetworkFrames(const LayerFrames& every_layer)
      : r1_(every_layer.r1), r3_(every_layer.r3), r4_(every_layer.r4), r2_every_layer_(every_layer.r2) {}
  LayerFrames layer(int64_t index) const;

 private:
  Frame r1_, r3_, r4_;
  std::vector<Frame> r2_;  // of each layer; empty: r2_every_layer_
  Frame r2_every_layer_;
};

/// What a walk over the network needs besides weights.
struct Network {
  data::LlamaConfig config;
  QuantScheme scheme;
  NetworkFrames frames;
  RopeTable rope;            // for `length` tokens
  int64_t loss_chunk = 512;  // tokens whose logits exist at once

  LayerContext context(int64_t batch, int64_t length) const {
    return {&config, &rope, &scheme, batch, length};
  }
};

/// Sum of the next-token losses of ids int64 [batch, length] (batch 0 allowed: takes part in the collectives
/// only).
LossResult forward_loss(const Network& network, WeightSource& weights, const at::Tensor& ids);

/// Logits [batch, length, vocab] in the compute dtype, whole: for tests and small models.
at::Tensor forward_logits(const Network& network, WeightSource& weights, const at::Tensor& ids);

}  // namespace spq::model
