#include "trainer/data_order.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "core/error.h"
#include "trainer/schedule.h"

namespace spq::trainer {
namespace {

TEST(DataOrder, DocumentOrderWrapsAround) {
  EXPECT_EQ(DataOrder(5, false, 0).sequences(3, 6), (std::vector<int64_t>{3, 4, 0, 1, 2, 3}));
}

TEST(DataOrder, ShuffledEpochsAreDifferentPermutationsFixedByTheSeed) {
  const DataOrder order(40, true, 7);
  const std::vector<int64_t> first = order.sequences(0, 40), second = order.sequences(40, 40);
  for (const auto& epoch : {first, second})
    EXPECT_EQ(std::set<int64_t>(epoch.begin(), epoch.end()).size(), 40u);
  EXPECT_NE(first, second);
  EXPECT_EQ(DataOrder(40, true, 7).sequences(0, 40), first);
  EXPECT_NE(DataOrder(40, true, 8).sequences(0, 40), first);
  EXPECT_FALSE(std::is_sorted(first.begin(), first.end()));
}

TEST(DataOrder, AnyWindowIsAPartOfTheWholeOrder) {
  const DataOrder order(13, true, 1);
  const std::vector<int64_t> whole = order.sequences(0, 60);
  for (int64_t begin = 0; begin < 50; ++begin) {
    const std::vector<int64_t> part = order.sequences(begin, 8);
    EXPECT_TRUE(std::equal(part.begin(), part.end(), whole.begin() + begin)) << begin;
  }
}

TEST(DataOrder, RefusesATokenFileWithoutAWholeSequence) {
  EXPECT_THROW(DataOrder(0, false, 0), Error);
}

TEST(LearningRate, FollowsTheScheduleFromTheFirstStepToZero) {
  OptimizerConfig config;
  config.steps = 100;
  config.learning_rate = 1.5;
  EXPECT_DOUBLE_EQ(learning_rate_at(config, 0), 1.5);
  EXPECT_NEAR(learning_rate_at(config, 50), 0.75, 1e-12);
  EXPECT_NEAR(learning_rate_at(config, 100), 0.0, 1e-12);
  config.schedule = Schedule::kLinear;
  EXPECT_NEAR(learning_rate_at(config, 25), 1.125, 1e-12);
  config.schedule = Schedule::kConstant;
  EXPECT_DOUBLE_EQ(learning_rate_at(config, 99), 1.5);
}

}  // namespace
}  // namespace spq::trainer
