// The memory plan by arithmetic; tests/trainer/memory_test.cpp compares it with what is really allocated.
#include "trainer/memory_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/trainer/plan_models.h"
#include "trainer/memory_advice.h"

namespace spq::trainer {
namespace {

constexpr ElementSizes kBf16 = {2, 2};
constexpr int64_t kLayer = int64_t{8192} * (2 * 8192 + 2 * 1024 + 3 * 28672) * 2;  // bytes, 70B
constexpr int64_t kHead = int64_t{128256} * 8192 * 2;

int64_t gathered(const Placement& placement) {
  return plan_memory(test::llama3(true), test::recipe(), kBf16, placement, false).gathered;
}

TEST(MemoryPlan, OneHostSharesTheShardsThemselves) {
  EXPECT_EQ(gathered(on_hosts(8, 8, 1)), 0);
  EXPECT_EQ(gathered(on_hosts(1, 1, 1)), 0);
}

TEST(MemoryPlan, RanksOfSeveralHostsShareTwoUnitsPerHost) {
  EXPECT_EQ(gathered(on_hosts(8, 1, 1)), kLayer + kHead);
  EXPECT_EQ(gathered(on_hosts(8, 4, 1)), (kLayer + kHead) / 4);
  EXPECT_EQ(gathered(on_hosts(8, 3, 1)), kLayer + kHead) << "hosts of 3, 3 and 2 ranks cannot share";
}

TEST(MemoryPlan, EachGpuHoldsTwoUnitsOfItsOwn) {
  EXPECT_EQ(gathered(on_gpus(8, 8, 0)), kLayer + kHead);
  EXPECT_EQ(gathered(on_gpus(64, 8, 0)), kLayer + kHead);
  EXPECT_EQ(gathered(on_gpus(1, 1, 0)), 0) << "one rank uses its shard";
}

TEST(MemoryPlan, ShardsOfAllRanksAreTheModel) {
  const int64_t whole = 80 * kLayer + 2 * kHead;
  const auto shard = [](int ranks) {
    return plan_memory(test::llama3(true), test::recipe(), kBf16, on_gpus(ranks, ranks, 0), false).shard;
  };
  EXPECT_EQ(shard(1), whole);
  EXPECT_EQ(8 * shard(8), whole);
  EXPECT_LT(3 * shard(3), whole + whole / 1000);
}

TEST(MemoryPlan, RecomputingLeavesOneInputPerLayer) {
  const auto plan = [](bool keep) {
    return plan_memory(test::llama3(false), test::recipe(), kBf16, on_gpus(1, 1, 0), keep);
  };
  EXPECT_EQ(plan(false).activations, int64_t{32} * 2048 * 4096 * 2);
  EXPECT_GT(plan(true).activations, 10 * plan(false).activations);
  EXPECT_LT(plan(true).layer, plan(false).layer) << "what is kept is not in the workspace too";
}

TEST(MemoryPlan, AutoKeepsActivationsWhereNineTenthsOfTheMemoryHoldThem) {
  const data::LlamaConfig model = test::llama3(false);
  Config config = test::recipe();
  const int64_t kept = plan_memory(model, config, kBf16, on_gpus(1, 1, 0), true).total();
  const auto chosen = [&](int64_t available) {
    return choose_plan(model, config, kBf16, on_gpus(1, 1, 0), available).keeps_activations;
  };
  EXPECT_TRUE(chosen(kept * 10 / 9 + 10));
  EXPECT_FALSE(chosen(kept * 10 / 9 - 10));
  EXPECT_FALSE(chosen(0)) << "nothing known about the memory";
  config.compute.activations = Activations::kKeep;
  EXPECT_TRUE(chosen(0));
  config.compute.activations = Activations::kRecompute;
  EXPECT_FALSE(chosen(2 * kept));
}

TEST(MemoryPlan, TheDescriptionSaysWhatHappensToActivations) {
  MemoryPlan plan;
  EXPECT_THAT(plan.describe(), testing::HasSubstr("recomputed"));
  plan.keeps_activations = true;
  EXPECT_THAT(plan.describe(), testing::HasSubstr("kept"));
}

class MemoryAdvice : public testing::Test {
 protected:
  std::vector<std::string> ways(int64_t available) const {
    return ways_to_fit(model_, config_, kBf16, placement_, available);
  }
  int64_t total(const Config& config, int ranks) const {
    Placement placement = placement_;
    placement.world_size = ranks;
    const bool keep = config.compute.activations == Activations::kKeep;
    return plan_memory(model_, config, kBf16, placement, keep).total();
  }
  data::LlamaConfig model_ = test::llama3(false);
  Config config_ = test::recipe();
  Placement placement_ = on_gpus(4, 4, 0);
};

TEST_F(MemoryAdvice, NamesEachChangeThatSufficesAlone) {
  config_.compute.activations = Activations::kKeep;
  config_.batch.micro_batch = 4;
  Config smaller = config_;
  smaller.batch.micro_batch = 1;
  const int64_t just_enough = total(smaller, 4);
  EXPECT_THAT(ways(just_enough), testing::Contains(testing::StartsWith("batch.micro_batch 1")));
  EXPECT_THAT(ways(just_enough - 1),
              testing::Not(testing::Contains(testing::StartsWith("batch.micro_batch 1"))));
  EXPECT_THAT(ways(just_enough), testing::Contains(testing::StartsWith("compute.activations recompute")));
}

TEST_F(MemoryAdvice, CountsTheRanksThatAreEnough) {
  config_.compute.activations = Activations::kRecompute;
  const int64_t enough = total(config_, 16);
  EXPECT_THAT(ways(enough), testing::Contains(testing::StartsWith("16 ranks on 4 host(s)")));
  EXPECT_THAT(ways(enough - 1), testing::Not(testing::Contains(testing::StartsWith("16 ranks"))));
}

TEST_F(MemoryAdvice, IsEmptyWhereNothingHelps) {
  EXPECT_TRUE(ways(1000).empty());
}

}  // namespace
}  // namespace spq::trainer
