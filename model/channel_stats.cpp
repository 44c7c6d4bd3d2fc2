#include "model/channel_stats.h"

#include "model/norm.h"

namespace spq::model {

ChannelStats channel_stats(const Network& network, WeightSource& weights, const at::Tensor& ids) {
  const QuantScheme full_precision;
  LayerContext context = network.context(ids.size(0), ids.size(1));
  context.scheme = &full_precision;
  const auto magnitudes = [](const at::Tensor& x) { return x.abs().amax(0).to(at::kFloat); };
  ChannelStats stats;
  weights.begin_walk(Walk::kForward);
  at::Tensor h = weights.embed(ids.reshape({-1}));
  for (int64_t l = 0; l < network.config.num_layers; ++l) {
    const LayerFrames frames = network.frames.layer(l);
    const at::Tensor x = rms_norm(h, network.config.rms_norm_eps);
    stats.before.push_back(magnitudes(x));
    stats.after.push_back(magnitudes(frames.r1.enter(x)));
    h = layer_forward(context, weights.layer(l), frames, h, nullptr);
  }
  return stats;
}

}  // namespace spq::model
