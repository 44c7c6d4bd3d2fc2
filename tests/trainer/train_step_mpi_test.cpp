// The same step under mpirun at any number of ranks: equal to one rank to summation order, bit-identical run
// to run, equal bits on all ranks at every step.
#include <gtest/gtest.h>

#include "dist/collectives.h"
#include "dist/mpi_communicator.h"
#include "dist/single_communicator.h"
#include "tests/trainer/step_problem.h"
#include "trainer/rotation_setup.h"

namespace spq::trainer {
namespace {

using test::StepProblem;

class TrainStepMpi : public testing::Test {
 protected:
  dist::MpiSession session_;
  std::unique_ptr<dist::Communicator> comm_ = dist::make_mpi_communicator(session_);
};

TEST_F(TrainStepMpi, EqualsOneRankToSummationOrder) {
  dist::SingleCommunicator single;
  for (const char* model : {"gqa4", "tied", "bf16"}) {
    StepProblem alone(single, model), together(*comm_, model);
    const StepResult expected = alone.train(1, 5).front();
    const StepResult found = together.train(1, 5, 2).front();
    EXPECT_NEAR(found.loss, expected.loss, 1e-6 * expected.loss) << model;
    EXPECT_LE(test::max_error(together.state.rotations.r1, alone.state.rotations.r1), 1e-5) << model;
    EXPECT_LE(test::max_error(together.state.rotations.r2[1], alone.state.rotations.r2[1]), 1e-5) << model;
  }
}

TEST_F(TrainStepMpi, RanksAgreeInEveryBitAtEveryStepAndRunsRepeat) {
  StepProblem first(*comm_, "gqa4"), second(*comm_, "gqa4");
  for (int step = 0; step < 5; ++step) {
    const double loss = first.train(1, 5).front().loss;
    EXPECT_EQ(second.train(1, 5).front().loss, loss);
    const std::string hash = rotation_hash(first.state.rotations);
    EXPECT_EQ(rotation_hash(second.state.rotations), hash);
    for (const std::string& other : dist::gather_texts(*comm_, hash))
      EXPECT_EQ(other, hash) << "step " << step;
  }
}

}  // namespace
}  // namespace spq::trainer
