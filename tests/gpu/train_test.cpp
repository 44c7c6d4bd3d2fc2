// Short trainings on a GPU against the CPU. Skipped where no GPU can be had.
#include <gtest/gtest.h>

#include <string>

#include "dist/single_communicator.h"
#include "model/sharded_device.h"
#include "tests/model/layer_run.h"
#include "trainer/rotation_setup.h"

namespace spq::trainer {
namespace {

using test::StepProblem;

class GpuTrain : public testing::TestWithParam<at::ScalarType> {
 protected:
  void SetUp() override {
    if (!run_.is_gpu()) GTEST_SKIP() << "no GPU: " << run_.describe();
    connected_ = &run_.connect(60);
  }
  StepProblem on_gpu() { return StepProblem(*connected_, "gqa4", GetParam(), run_.device()); }

  dist::SingleCommunicator host_;
  model::RunDevice run_{host_, ComputeDevice::kAuto};
  dist::Communicator* connected_ = nullptr;
};

// Of what the step did to R1, not of R1 itself.
TEST_P(GpuTrain, StepIsThatOfTheCpu) {
  const double error = test::median_error([&](uint64_t seed) {
    StepProblem cpu(host_, "gqa4", GetParam()), gpu = on_gpu();
    const at::Tensor start = cpu.state.rotations.r1;
    cpu.state.step = gpu.state.step = static_cast<int64_t>(seed);  // other sequences
    const StepResult expected = cpu.train(1, 4, 2).front(), found = gpu.train(1, 4, 2).front();
    EXPECT_NEAR(found.loss, expected.loss, 1e-2 * expected.loss);
    EXPECT_LE(found.cayley.orthogonality_error, 1e-5);
    EXPECT_TRUE(gpu.state.rotations.r1.is_cuda());
    const at::Tensor moved = cpu.state.rotations.r1.sub(start);
    return test::relative_error(gpu.state.rotations.r1.cpu().sub(start), moved);
  });
  EXPECT_LE(error, GetParam() == at::kFloat ? 1e-2 : 2e-1);
}

TEST_P(GpuTrain, RepeatsItsBits) {
  StepProblem first = on_gpu(), second = on_gpu();
  for (int step = 0; step < 3; ++step) {
    EXPECT_EQ(first.train(1, 5, 2).front().loss, second.train(1, 5, 2).front().loss);
    EXPECT_EQ(rotation_hash(first.state.rotations), rotation_hash(second.state.rotations));
  }
}

TEST_P(GpuTrain, KeptAndRecomputedActivationsGiveTheSameBits) {
  StepProblem kept = on_gpu(), recomputed = on_gpu();
  kept.settings.keep_activations = true;
  EXPECT_EQ(kept.train(1, 4, 2).front().loss, recomputed.train(1, 4, 2).front().loss);
  EXPECT_EQ(rotation_hash(kept.state.rotations), rotation_hash(recomputed.state.rotations));
}

INSTANTIATE_TEST_SUITE_P(Dtypes, GpuTrain, testing::Values(at::kFloat, at::kBFloat16),
                         [](const auto& dtype) { return std::string(c10::toString(dtype.param)); });

}  // namespace
}  // namespace spq::trainer
