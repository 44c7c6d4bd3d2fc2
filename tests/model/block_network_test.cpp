// Every kernel of the network through model/device.h, as on a GPU, against the CPU's kernels.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <stdexcept>
#include <string>

#include "core/error.h"
#include "dist/single_communicator.h"
#include "model/norm.h"
#include "model/rows.h"
#include "tests/model/block_device.h"
#include "tests/model/layer_run.h"

namespace spq::model {
namespace {

using test::kLength;
using test::random;
using test::run_layer;
using test::StepProblem;
using test::ThroughBlocks;

// Relative, in the Frobenius norm. fp32: sums within a row are added in another order. bf16: the last bit of
// a stored value goes the other way now and then.
double tolerance(at::ScalarType dtype) {
  return dtype == at::kFloat ? 1e-5 : 1e-3;
}

class BlockNetwork : public testing::TestWithParam<at::ScalarType> {
 protected:
  void expect_equal_layers(const LayerFrames& frames) {
    const double error = test::median_error([&](uint64_t seed) {
      const test::LayerRun expected = run_layer(problem_, frames, GetParam(), seed);
      const ThroughBlocks blocks;
      const test::LayerRun found = run_layer(problem_, frames, GetParam(), seed);
      EXPECT_GT(blocks.uses(), 0);
      return test::largest_error(found, expected);
    });
    EXPECT_LE(error, tolerance(GetParam()));
  }
  LayerFrames learned_frames() const {
    return NetworkFrames(problem_.network.config, problem_.state.rotations, {}, GetParam()).layer(0);
  }

  dist::SingleCommunicator single_;
  StepProblem problem_{single_, "gqa4", GetParam()};
};

TEST_P(BlockNetwork, LayerBehindAllFourRotationsIsThatOfTheCpu) {
  expect_equal_layers(learned_frames());
}

// Without R1 and R2 the norm is fused with the quantizer, and so is every other point.
TEST_P(BlockNetwork, LayerWithoutLearnedRotationsIsThatOfTheCpu) {
  LayerFrames frames = learned_frames();
  frames.r1 = frames.r2 = Frame();
  expect_equal_layers(frames);
}

TEST_P(BlockNetwork, LayerWithFoldedTransformIsThatOfTheCpu) {
  LayerFrames frames = learned_frames();
  frames.r4 = Frame::one_way(*frames.r4.plan());
  expect_equal_layers(frames);
}

TEST_P(BlockNetwork, LayerWithoutQuantizersIsThatOfTheCpu) {
  problem_.network.scheme = {};
  const at::Tensor expected = run_layer(problem_, learned_frames(), GetParam()).out;
  const ThroughBlocks blocks;
  const at::Tensor found = run_layer(problem_, learned_frames(), GetParam()).out;
  EXPECT_LE(test::relative_error(found, expected), tolerance(GetParam()));
}

TEST_P(BlockNetwork, LossAndItsGradientAreThoseOfTheCpu) {
  const data::LlamaConfig& c = problem_.network.config;
  const at::Tensor h = random({2 * kLength, c.hidden_size}, GetParam(), 3);
  const at::Tensor head = random({c.vocab_size, c.hidden_size}, GetParam(), 4).mul(0.3);
  const at::Tensor ids = problem_.sequence(0).repeat({2, 1});
  const auto loss = [&] { return next_token_loss(h, ids, head, c.rms_norm_eps, /*chunk_tokens=*/7, 0.125); };
  const LossResult expected = loss();
  const ThroughBlocks blocks;
  const LossResult found = loss();
  EXPECT_GT(blocks.uses(), 0);
  EXPECT_EQ(found.predictions(), 2 * (kLength - 1));
  EXPECT_NEAR(found.loss_sum(), expected.loss_sum(), 1e-6 * expected.loss_sum());
  EXPECT_LE(test::relative_error(found.grad, expected.grad), tolerance(GetParam()));
}

// Of what the step did to R1, not of R1 itself.
TEST_P(BlockNetwork, TrainingStepIsThatOfTheCpu) {
  const double error = test::median_error([&](uint64_t seed) {
    StepProblem cpu(single_, "gqa4", GetParam()), through_blocks(single_, "gqa4", GetParam());
    const at::Tensor start = cpu.state.rotations.r1;
    cpu.state.step = through_blocks.state.step = static_cast<int64_t>(seed);  // other sequences
    const double loss = cpu.train(1, 4, 2).front().loss;
    const ThroughBlocks blocks;
    EXPECT_NEAR(through_blocks.train(1, 4, 2).front().loss, loss, 1e-2 * loss);
    EXPECT_GT(blocks.uses(), 0);
    const at::Tensor moved = cpu.state.rotations.r1.sub(start);
    return test::relative_error(through_blocks.state.rotations.r1.sub(start), moved);
  });
  EXPECT_LE(error, GetParam() == at::kFloat ? 1e-5 : 1e-2);
}

INSTANTIATE_TEST_SUITE_P(Dtypes, BlockNetwork, testing::Values(at::kFloat, at::kBFloat16),
                         [](const auto& dtype) { return std::string(c10::toString(dtype.param)); });

TEST(BlockTarget, ARowLoopOfTheCpuWouldBeSeen) {
  const ThroughBlocks blocks;
  EXPECT_THROW(for_rows(4, 8, [](int64_t, int64_t) {}), std::logic_error);
}

TEST(BlockTarget, RefusesDtypesThatNoBlockKernelKnows) {
  const ThroughBlocks blocks;
  for (const at::ScalarType dtype : {at::kDouble, at::kHalf}) {
    try {
      rms_norm(random({4, 8}, dtype, 5), 1e-5);
      ADD_FAILURE() << c10::toString(dtype);
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), testing::HasSubstr(c10::toString(dtype)));
      EXPECT_THAT(error.what(), testing::HasSubstr("expected Float or BFloat16"));
    }
  }
}

}  // namespace
}  // namespace spq::model
