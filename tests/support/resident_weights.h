// A whole model in memory, in any dtype, and its moments without recomputation: what the sharded trainer is
// compared with.
#pragma once

#include <vector>

#include "data/rotations.h"
#include "model/network.h"
#include "tests/support/golden.h"

namespace spq::test {

class ResidentWeights : public model::WeightSource {
 public:
  /// From tensors under their Hugging Face names; norms are folded in `dtype`.
  ResidentWeights(const data::LlamaConfig& config, const TensorMap& tensors, at::ScalarType dtype);

  void begin_walk(model::Walk) override {}
  at::Tensor embed(const at::Tensor& ids) override { return embedding_.index_select(0, ids); }
  const model::LayerWeights& layer(int64_t index) override { return layers_.at(static_cast<size_t>(index)); }
  const at::Tensor& head() override { return head_; }

 private:
  std::vector<model::LayerWeights> layers_;
  at::Tensor embedding_, head_;
};

/// Loss (mean over predictions) and the moments M of R1 and every R2, by one plain walk that keeps
/// everything.
struct LossAndMoments {
  double loss = 0;
  at::Tensor r1;
  std::vector<at::Tensor> r2;
};
LossAndMoments loss_and_moments(const model::Network& network, model::WeightSource& weights,
                                const at::Tensor& ids, at::ScalarType moment_dtype);

/// A small random model under Hugging Face names, in double; values exact in fp32.
TensorMap random_model(const data::LlamaConfig& config, int64_t seed);

}  // namespace spq::test
