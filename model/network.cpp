#include "model/network.h"

#include "model/norm.h"
#include "model/product.h"

namespace spq::model {
namespace {

Frame dense(const at::Tensor& rotation, at::ScalarType dtype) {
  return rotation.defined() ? Frame(rotation.to(dtype)) : Frame();
}

// The last layer's output [batch * length, d]; undefined for an empty batch.
at::Tensor forward_hidden(const Network& network, WeightSource& weights, const at::Tensor& ids) {
  const int64_t batch = ids.size(0);
  const LayerContext context = network.context(batch, ids.size(1));
  weights.begin_walk(Walk::kForward);
  at::Tensor h = weights.embed(ids.reshape({-1}));
  for (int64_t l = 0; l < network.config.num_layers; ++l) {
    const LayerWeights& layer = weights.layer(l);
    if (batch > 0) h = layer_forward(context, layer, network.frames.layer(l), h, nullptr);
  }
  return h;
}

}  // namespace

NetworkFrames::NetworkFrames(const data::LlamaConfig& config, const data::Rotations& rotations,
                             const OnlineTransforms& online, at::ScalarType compute_dtype)
    : r1_(dense(rotations.r1, compute_dtype)) {
  for (const at::Tensor& r2 : rotations.r2) r2_.push_back(dense(r2, compute_dtype));
  if (online.r3_hadamard) r3_ = Frame(kernels::plan_hadamard(config.head_dim));
  if (online.r4_hadamard) r4_ = Frame(kernels::plan_hadamard(config.intermediate_size));
}

LayerFrames NetworkFrames::layer(int64_t index) const {
  return {r1_, r2_.empty() ? r2_every_layer_ : r2_.at(static_cast<size_t>(index)), r3_, r4_};
}

LossResult forward_loss(const Network& network, WeightSource& weights, const at::Tensor& ids) {
  const at::Tensor h = forward_hidden(network, weights, ids);
  const at::Tensor& head = weights.head();
  if (ids.size(0) == 0) return {};
  return next_token_loss(h, ids, head, network.config.rms_norm_eps, network.loss_chunk, /*grad_scale=*/0);
}

at::Tensor forward_logits(const Network& network, WeightSource& weights, const at::Tensor& ids) {
  const at::Tensor h = forward_hidden(network, weights, ids);
  return product(rms_norm(h, network.config.rms_norm_eps), weights.head().t())
      .view({ids.size(0), ids.size(1), -1});
}

}  // namespace spq::model
