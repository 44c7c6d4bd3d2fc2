// What the host block finds out about a kernel, and the tables of the Hadamard block kernels.
#include "kernels/blocks/host_block.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "core/error.h"
#include "kernels/blocks/hadamard_shape.h"
#include "kernels/blocks/host_launcher.h"
#include "kernels/hadamard_factors.h"

namespace spq::kernels::blocks {
namespace {

constexpr int kThreads = 64;

HostBlock block_with(int64_t floats) {
  return HostBlock({kThreads, 1, shared_size<float>(floats)}, 0, 1, false);
}

TEST(HostBlockDeathTest, ReadingWhatAnotherThreadWroteNeedsABarrier) {
  HostBlock block = block_with(kThreads);
  const auto values = block.shared<float>(kThreads);
  block.for_threads([&](int t) { values.set(t, 1.0f); });
  block.for_threads([&](int t) { EXPECT_EQ(values.get(kThreads - 1 - t), 1.0f); });
  EXPECT_DEATH(block.for_threads([&](int t) {
    values.set(t, 2.0f);
    static_cast<void>(values.get((t + kThreads - 1) % kThreads));
  }),
               "write_phase");
}

TEST(HostBlockDeathTest, OverwritingWhatAnotherThreadReadsNeedsABarrier) {
  HostBlock block = block_with(kThreads);
  const auto values = block.shared<float>(kThreads);
  block.for_threads([&](int t) { values.set(t, 1.0f); });
  EXPECT_DEATH(block.for_threads([&](int t) {
    static_cast<void>(values.get((t + 1) % kThreads));
    values.set(t, 2.0f);
  }),
               "read_phase");
}

TEST(HostBlockDeathTest, IndicesAndSizesBeyondSharedMemoryAreCaught) {
  HostBlock block = block_with(10);
  const auto values = block.shared<float>(10);
  EXPECT_DEATH(block.for_threads([&](int) { values.set(10, 0.0f); }), "i < count_");
  EXPECT_DEATH(block.for_threads([&](int) { static_cast<void>(values.get(-1)); }), "i >= 0");
  EXPECT_DEATH(block.shared<float>(4), "memory_");
  HostBlock too_much = block_with(100);
  static_cast<void>(too_much.shared<float>(10));
  EXPECT_DEATH(too_much.finish(), "used_");
}

TEST(HostBlockDeathTest, PhasesWithoutBarrierShareNothing) {
  HostBlock block = block_with(10);
  const auto values = block.shared<float>(10);
  HostBlock::PerThread<int> own(block);
  EXPECT_DEATH(block.for_threads_apart([&](int) { static_cast<void>(values.get(0)); }), "may_share_");
  EXPECT_DEATH(block.for_threads_apart([&](int t) { own[(t + 1) % kThreads] = 0; }), "current_");
}

TEST(HostBlock, SharedMemoryStartsAsNan) {
  HostBlock block = block_with(10);
  const auto values = block.shared<float>(10);
  block.for_threads([&](int) { EXPECT_TRUE(std::isnan(values.get(3))); });
}

struct Sum {
  static int identity() { return 0; }
  static int join(int a, int b) { return a + b; }
};

TEST(HostBlock, ReducesOverPartsOfAWarpAndOverTheBlock) {
  for (int team : {1, 4, 32, kThreads}) {
    HostBlock block({kThreads, 1, shared_size<int>(reduce_scratch(team))}, 0, 1, false);
    const auto scratch = block.shared<int>(reduce_scratch(team));
    HostBlock::PerThread<int> v(block);
    block.for_threads([&](int t) { v[t] = t; });
    block.reduce<Sum>(v, team, scratch);
    block.for_threads([&](int t) {
      const int first = t / team * team;
      EXPECT_EQ(v[t], team * first + team * (team - 1) / 2) << team;
    });
  }
}

TEST(HadamardShape, SignsOfEveryFactorAreTheTables) {
  for (const HadamardFactor& f : hadamard_factors()) {
    const FactorSigns signs = factor_signs(static_cast<int>(f.order));
    for (int i = 0; i < f.order; ++i) {
      for (int j = 0; j < f.order; ++j) {
        const uint32_t word = signs.words[i / 4 * FactorSigns::kWordsPerTile + j / 8];
        ASSERT_EQ((word >> (j % 8 * 4 + i % 4)) & 1u, f.sign(i, j) > 0 ? 1u : 0u)
            << f.order << " " << i << " " << j;
        ASSERT_TRUE(f.order != 28 || factor28_is_plus(i, j) == (f.sign(i, j) > 0));
      }
    }
  }
  EXPECT_THROW(factor_signs(16), Error);
}

TEST(HadamardShape, SlotsOfATileAreDifferentAndSpreadOverTheBanks) {
  std::vector<int> used(14336, 0);
  for (int i = 0; i < 14336; ++i) ++used[static_cast<size_t>(slot(i))];
  for (int count : used) EXPECT_EQ(count, 1);
  // The 32 lanes of a warp in a pass over 16 values at distance 8.
  for (int k = 0; k < 16; ++k) {
    std::vector<int> banks(32, 0);
    for (int q = 0; q < 32; ++q) ++banks[static_cast<size_t>(slot((q >> 3 << 7) + (q & 7) + 8 * k) % 32)];
    for (int count : banks) EXPECT_EQ(count, 1) << k;
  }
}

}  // namespace
}  // namespace spq::kernels::blocks
