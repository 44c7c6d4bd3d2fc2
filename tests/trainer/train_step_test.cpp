// One step against the same mathematics done plainly; agreement of rank counts; failures.
#include "trainer/train_step.h"

#include <ATen/ops/stack.h>
#include <ATen/ops/zeros_like.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <limits>
#include <numeric>

#include "core/error.h"
#include "data/token_file.h"
#include "dist/single_communicator.h"
#include "dist/thread_communicator.h"
#include "model/quant_config.h"
#include "tests/support/resident_weights.h"
#include "tests/trainer/step_problem.h"
#include "trainer/rotation_setup.h"

namespace spq::trainer {
namespace {

using test::StepProblem;

TEST(TrainStep, RecomputedShardedMicroBatchesGiveThePlainlyComputedUpdate) {
  dist::SingleCommunicator single;
  StepProblem problem(single, "gqa4");
  // The plain way: all tensors kept, one batch, resident weights, then the same Cayley step.
  problem.network.frames =
      model::NetworkFrames(problem.network.config, problem.state.rotations, {}, at::kFloat);
  test::ResidentWeights resident(problem.network.config,
                                 test::read_tensors(test::fixture("gqa4") / "model.safetensors"), at::kFloat);
  std::vector<at::Tensor> rows;
  for (int64_t i = 0; i < 5; ++i) rows.push_back(problem.sequence(i));
  const test::LossAndMoments plain =
      test::loss_and_moments(problem.network, resident, at::stack(rows), at::kFloat);
  std::vector<at::Tensor> x = learned_matrices(problem.state.rotations, {});
  std::vector<at::Tensor> moments = {plain.r1}, momentum;
  moments.insert(moments.end(), plain.r2.begin(), plain.r2.end());
  for (const at::Tensor& t : x) momentum.push_back(at::zeros_like(t));
  cayley_step(single, x, moments, momentum, problem.learning_rate, {});

  dist::run_ranks(3, [&](dist::Communicator& comm) {
    StepProblem sharded(comm, "gqa4");
    const StepResult result = sharded.train(1, 5, 2).front();
    EXPECT_NEAR(result.loss, plain.loss, 1e-6);
    const std::vector<at::Tensor> found = learned_matrices(sharded.state.rotations, {});
    for (size_t i = 0; i < x.size(); ++i) EXPECT_LE(test::max_error(found[i], x[i]), 1e-5) << i;
    EXPECT_GT(test::max_error(found[0], learned_matrices(problem.state.rotations, {})[0]), 1e-3);
  });
}

TEST(TrainStep, LossOnTheEmbeddedModelFallsAtThreeBits) {
  const std::filesystem::path folder = std::filesystem::path(SPQ_SOURCE_DIR) / "data/tiny-llama";
  dist::SingleCommunicator single;
  const data::LlamaConfig config = data::read_llama_config(folder);
  const data::TokenFile tokens(folder / "tokens-train.h5");
  model::ShardedWeights weights(single, config, model::load_shard(data::ModelFiles(folder), config, 0, 1),
                                at::kFloat);
  QuantConfig quant;
  quant.activation.bits = quant.key.bits = quant.value.bits = 3;
  model::Network network;
  network.config = config;
  network.scheme = model::quant_scheme(quant);
  network.rope = model::make_rope_table(config, 64);
  TrainState state;
  RotationConfig rotation;
  rotation.seed = 1;
  state.rotations = start_rotations(rotation, config);
  state.momentum = zero_momentum(state.rotations);
  StepInput input;
  input.learning_rate = 0.2;
  input.global_predictions = 8 * 63;
  input.micro_batches = {tokens.read(0, 8 * 64, config.vocab_size).view({8, 64})};
  std::vector<double> losses;
  for (int i = 0; i < 25; ++i) losses.push_back(train_step(single, network, weights, state, input, {}).loss);
  const double first = std::accumulate(losses.begin(), losses.begin() + 5, 0.0);
  const double last = std::accumulate(losses.end() - 5, losses.end(), 0.0);
  EXPECT_LT(last, 0.97 * first);
}

TEST(TrainStep, MoreRanksThanSequencesIsTheSameStep) {
  dist::SingleCommunicator single;
  StepProblem expected(single, "gqa4");
  const double loss = expected.train(1, 2).front().loss;
  dist::run_ranks(5, [&](dist::Communicator& comm) {
    StepProblem problem(comm, "gqa4");
    EXPECT_NEAR(problem.train(1, 2).front().loss, loss, 1e-6);
    EXPECT_LE(test::max_error(problem.state.rotations.r1, expected.state.rotations.r1), 1e-5);
  });
}

TEST(TrainStep, FixedRotationsDoNotMove) {
  dist::SingleCommunicator single;
  for (const Learned learned : {Learned{true, false}, Learned{false, true}}) {
    StepProblem problem(single, "gqa4");
    problem.settings.learned = learned;
    const data::Rotations before = problem.state.rotations;
    problem.train(1, 2);
    EXPECT_EQ(problem.state.rotations.r1.equal(before.r1), !learned.r1);
    EXPECT_EQ(problem.state.rotations.r2[1].equal(before.r2[1]), !learned.r2);
  }
}

TEST(TrainStep, Bf16FollowsFp32) {
  dist::SingleCommunicator single;
  StepProblem wide(single, "gqa4"), narrow(single, "gqa4", at::kBFloat16);
  const StepResult a = wide.train(1, 4).front(), b = narrow.train(1, 4).front();
  EXPECT_NEAR(b.loss, a.loss, 0.02 * a.loss);
  EXPECT_NEAR(b.cayley.tangential_norm, a.cayley.tangential_norm, 0.3 * a.cayley.tangential_norm);
  EXPECT_EQ(narrow.state.rotations.r1.scalar_type(), at::kFloat);
}

TEST(TrainStep, NonFiniteLossIsRefusedOnEveryRankBeforeAnythingChanges) {
  dist::run_ranks(3, [&](dist::Communicator& comm) {
    StepProblem problem(comm, "gqa4");
    const std::string before = rotation_hash(problem.state.rotations);
    // Only rank 1 sees the overflow: its rotation is finite, but its activations are not.
    if (comm.rank() == 1) problem.network.rope.cos.fill_(std::numeric_limits<float>::quiet_NaN());
    std::string message;
    try {
      problem.train(1, 3);
    } catch (const AgreedError& error) {
      message = error.what();
    }
    EXPECT_EQ(message,
              "step 1: the loss is nan (first seen: rank 1, layer 0: queries); nothing was updated, the "
              "last checkpoint is still good");
    EXPECT_EQ(rotation_hash(problem.state.rotations), before);
    EXPECT_EQ(problem.state.step, 0);
  });
}

// Weights large enough that a product overflows: each place is found by its name.
TEST(TrainStep, NamesTheLayerAndPointWhereANumberFirstOverflowed) {
  struct Case {
    const char* name;
    at::Tensor model::LayerWeights::*matrix;
    const char* place;
  };
  for (const Case& k : {Case{"values", &model::LayerWeights::v, "layer 1: values"},
                        Case{"up", &model::LayerWeights::up, "layer 1: output of up_proj"},
                        Case{"o", &model::LayerWeights::o_t, "layer 1: output of o_proj"},
                        Case{"down", &model::LayerWeights::down_t, "layer 1: output of down_proj"}}) {
    dist::SingleCommunicator comm;
    StepProblem problem(comm, "gqa4");
    problem.weights().begin_walk(model::Walk::kForward);
    problem.weights().embed(problem.sequence(0));
    problem.weights().layer(0);
    // One rank's gathered weights are its shard.
    at::Tensor matrix = problem.weights().layer(1).*k.matrix;
    matrix.fill_(3e38);
    try {
      problem.train(1, 2);
      ADD_FAILURE() << k.name;
    } catch (const AgreedError& error) {
      EXPECT_THAT(error.what(), testing::HasSubstr(std::string("rank 0, ") + k.place));
    }
  }
}

TEST(TrainStep, StopRequestOfOneRankReachesAll) {
  dist::run_ranks(2, [&](dist::Communicator& comm) {
    StepProblem problem(comm, "mha");
    StepInput input;
    input.global_predictions = 2 * (test::kLength - 1);
    input.micro_batches = {problem.sequence(comm.rank()).unsqueeze(0)};
    input.stop_requested = comm.rank() == 1;
    EXPECT_TRUE(train_step(comm, problem.network, problem.weights(), problem.state, input, problem.settings)
                    .stop_requested);
  });
}

}  // namespace
}  // namespace spq::trainer
