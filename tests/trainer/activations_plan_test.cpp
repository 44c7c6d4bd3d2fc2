// Activations kept or recomputed: another amount of memory, the same bits.
#include <gtest/gtest.h>

#include "dist/single_communicator.h"
#include "dist/thread_communicator.h"
#include "tests/trainer/step_problem.h"
#include "trainer/rotation_setup.h"

namespace spq::trainer {
namespace {

using test::StepProblem;

TEST(Activations, KeptOrRecomputedGiveTheSameBits) {
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    for (const char* model : {"gqa4", "mha", "tied"}) {
      dist::SingleCommunicator single;
      StepProblem recomputed(single, model, dtype), kept(single, model, dtype);
      kept.settings.keep_activations = true;
      const std::vector<StepResult> a = recomputed.train(3, 3, 2), b = kept.train(3, 3, 2);
      for (size_t i = 0; i < a.size(); ++i) {
        EXPECT_EQ(b[i].loss, a[i].loss) << model << ", step " << i;
        EXPECT_EQ(b[i].gradient_norm, a[i].gradient_norm) << model << ", step " << i;
      }
      EXPECT_EQ(rotation_hash(kept.state.rotations), rotation_hash(recomputed.state.rotations)) << model;
    }
  }
}

TEST(Activations, RanksMayChooseDifferently) {
  std::string expected;
  for (const int keeping_rank : {-1, 1}) {
    dist::run_ranks(3, [&](dist::Communicator& comm) {
      StepProblem problem(comm, "gqa4");
      problem.settings.keep_activations = comm.rank() == keeping_rank;
      problem.train(2, 4);
      const std::string hash = rotation_hash(problem.state.rotations);
      if (keeping_rank >= 0) {
        EXPECT_EQ(hash, expected) << "rank " << comm.rank();
      } else if (comm.rank() == 0) {
        expected = hash;
      }
    });
  }
}

}  // namespace
}  // namespace spq::trainer
