// What a rank really allocates during a step, counted by LibTorch's allocator, against the plan.
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <c10/core/Allocator.h>
#include <c10/util/ThreadLocalDebugInfo.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>

#include "dist/thread_communicator.h"
#include "model/quant_config.h"
#include "model/sharded_weights.h"
#include "trainer/memory_plan.h"
#include "trainer/rotation_setup.h"
#include "trainer/train_step.h"

namespace spq::trainer {
namespace {

// Bytes in tensors of the calling thread, and their peak.
class AllocationCounter : public c10::MemoryReportingInfoBase {
 public:
  void reportMemoryUsage(void*, int64_t size, size_t, size_t, c10::Device) override {
    now_ += size;
    peak_ = std::max(peak_, now_);
  }
  bool memoryProfilingEnabled() const override { return true; }
  int64_t peak() const { return peak_; }
  int64_t now() const { return now_; }
  void restart() { peak_ = now_; }

 private:
  int64_t now_ = 0;
  int64_t peak_ = 0;
};

data::LlamaConfig wide_model(int64_t num_layers) {
  data::LlamaConfig c;
  c.hidden_size = 256;
  c.intermediate_size = 704;
  c.num_layers = num_layers;
  c.num_heads = 8;
  c.num_kv_heads = 2;
  c.head_dim = 32;
  c.vocab_size = 600;
  c.max_position = 64;
  c.rms_norm_eps = 1e-5;
  return c;
}

model::ModelShard random_shard(const data::LlamaConfig& c, int rank, int world_size) {
  const auto rows = [&](int64_t n) {
    return at::randn({dist::RowPartition(n, world_size).count(rank), c.hidden_size}, at::kFloat).mul_(0.05);
  };
  model::ModelShard shard;
  const int64_t heads = c.num_heads * c.head_dim, kv = c.num_kv_heads * c.head_dim;
  for (int64_t l = 0; l < c.num_layers; ++l) {
    shard.layers.push_back({rows(heads), rows(kv), rows(kv), rows(heads), rows(c.intermediate_size),
                            rows(c.intermediate_size), rows(c.intermediate_size)});
  }
  shard.embedding = rows(c.vocab_size);
  shard.head = rows(c.vocab_size);
  return shard;
}

struct Measured {
  int64_t shard = 0;  // bytes before the step
  int64_t step = 0;   // peak above that
};

Measured measure(dist::Communicator& comm, const data::LlamaConfig& c, const Config& config,
                 at::ScalarType compute) {
  auto counter = std::make_shared<AllocationCounter>();
  const c10::DebugInfoGuard guard(c10::DebugInfoKind::PROFILER_STATE, counter);
  model::ShardedWeights weights(comm, c, random_shard(c, comm.rank(), comm.world_size()), compute);
  const int64_t shard = counter->now();
  model::Network network;
  network.config = c;
  network.scheme = model::quant_scheme(config.quant);
  network.rope = model::make_rope_table(c, config.batch.sequence_length);
  network.loss_chunk = config.compute.loss_chunk;
  TrainState state;
  state.rotations = start_rotations(config.rotation, c);
  state.momentum = zero_momentum(state.rotations);
  StepSettings settings;
  settings.compute_dtype = compute;
  counter->restart();
  for (int i = 0; i < 2; ++i) {
    StepInput input;
    input.global_predictions = 63 * comm.world_size();
    input.learning_rate = 1.0;
    input.micro_batches = {at::randint(c.vocab_size, {1, 64}, at::kLong)};
    train_step(comm, network, weights, state, input, settings);
  }
  return {shard, counter->peak() - shard};
}

Config small_run() {
  Config config;
  config.batch = {.sequences = 3, .sequence_length = 64, .micro_batch = 1};
  config.compute.loss_chunk = 16;
  config.quant.activation.bits = config.quant.key.bits = config.quant.value.bits = 4;
  return config;
}

TEST(Memory, RankStaysWithinShardTwoGatheredUnitsAndActivations) {
  const Config config = small_run();
  for (at::ScalarType compute : {at::kFloat, at::kBFloat16}) {
    const data::LlamaConfig c = wide_model(6);
    dist::run_ranks(3, [&](dist::Communicator& comm) {
      const Measured found = measure(comm, c, config, compute);
      const MemoryPlan plan =
          plan_memory(c, config, 4, static_cast<int64_t>(c10::elementSize(compute)), comm.world_size());
      EXPECT_LE(found.shard, plan.shard) << "rank " << comm.rank();
      EXPECT_LE(found.step, plan.total() - plan.shard) << plan.describe();
      EXPECT_GE(found.step, plan.gathered / 2) << "the plan is far from what happens";
    });
  }
}

TEST(Memory, MoreLayersCostARankOnlyTheirShardAndTheirInput) {
  const Config config = small_run();
  std::vector<Measured> found(2);
  for (size_t i = 0; i < 2; ++i) {
    const data::LlamaConfig c = wide_model(i == 0 ? 4 : 12);
    dist::run_ranks(3, [&](dist::Communicator& comm) {
      const Measured m = measure(comm, c, config, at::kFloat);
      if (comm.rank() == 0) found[i] = m;
    });
  }
  const int64_t inputs = 8 * 64 * 256 * 4;        // 8 more layer inputs [64, 256] fp32
  const int64_t rotations = 8 * 6 * 32 * 32 * 4;  // 8 more R2 with momentum, moment and temporaries
  EXPECT_LE(found[1].step, found[0].step + inputs + rotations);
}

}  // namespace
}  // namespace spq::trainer
