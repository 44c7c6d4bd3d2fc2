// Largest magnitude of each residual channel at the attention inputs: the outliers, and what a rotation makes
// of them.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "model/network.h"

namespace spq::model {

/// Per layer, over tokens: max |x| of every channel of the normed attention input, before and after R1. fp32
/// [d].
struct ChannelStats {
  std::vector<at::Tensor> before;
  std::vector<at::Tensor> after;
};

/// ids int64 [batch, length], batch >= 1, the same on every rank (the walk is collective). Nothing is
/// quantized.
ChannelStats channel_stats(const Network& network, WeightSource& weights, const at::Tensor& ids);

}  // namespace spq::model
