// A small model on disk, sharded over any communicator, and one training step on it.
#pragma once

#include <memory>
#include <vector>

#include "data/model_files.h"
#include "dist/communicator.h"
#include "model/sharded_weights.h"
#include "tests/support/golden.h"
#include "trainer/train_step.h"

namespace spq::test {

inline constexpr int64_t kLength = 24;

/// Fixture model `name` with W16A4KV4 quantizers, held by one rank of `comm`, on `device`.
class StepProblem {
 public:
  StepProblem(dist::Communicator& comm, const std::string& name, at::ScalarType compute_dtype = at::kFloat,
              c10::Device device = at::kCPU);

  /// `steps` steps on a global batch of `sequences`, in micro-batches of `micro_batch`.
  std::vector<trainer::StepResult> train(int64_t steps, int64_t sequences, int64_t micro_batch = 1);

  trainer::TrainState state;
  trainer::StepSettings settings;
  double learning_rate = 2.0;
  model::Network network;
  model::ShardedWeights& weights() { return *weights_; }
  /// Sequence `index` of the endless deterministic text, int64 [kLength].
  at::Tensor sequence(int64_t index) const;

 private:
  dist::Communicator& comm_;
  std::unique_ptr<model::ShardedWeights> weights_;
};

}  // namespace spq::test
