#include "model/sharded_batches.h"

#include <ATen/ops/cat.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "tests/support/golden.h"

namespace spq::model {
namespace {

// The embedded model's calibration tokens.
data::TokenFile tokens() {
  return data::TokenFile(std::filesystem::path(SPQ_SOURCE_DIR) / "data/tiny-llama/tokens-train.h5");
}

TEST(RankMicroBatches, EveryRankCountSeesTheSameSequencesOnce) {
  const data::TokenFile file = tokens();
  const std::vector<int64_t> sequences = {4, 9, 2, 30, 7, 8, 1};
  at::Tensor expected;
  for (int world_size : {1, 2, 3, 4, 9}) {
    std::vector<at::Tensor> all;
    size_t walks = 0;
    for (int rank = 0; rank < world_size; ++rank) {
      const auto batches = rank_micro_batches(file, sequences, 32, 2, 512, rank, world_size);
      if (rank == 0) walks = batches.size();
      EXPECT_EQ(batches.size(), walks) << "every rank takes the same number of walks";
      for (const at::Tensor& batch : batches) {
        EXPECT_LE(batch.size(0), 2);
        EXPECT_EQ(batch.size(1), 32);
      }
      all.insert(all.end(), batches.begin(), batches.end());
    }
    const at::Tensor whole = at::cat(all);
    if (!expected.defined()) expected = whole;
    EXPECT_TRUE(whole.equal(expected)) << world_size;
  }
  EXPECT_TRUE(expected[1].equal(file.read(9 * 32, 32, 512)));
}

TEST(RankMicroBatches, RefusesIdsOutsideTheVocabulary) {
  const data::TokenFile file = tokens();
  EXPECT_THROW(rank_micro_batches(file, {0, 1, 2}, 32, 1, 5, 0, 1), Error);
}

}  // namespace
}  // namespace spq::model
