#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <latch>
#include <stdexcept>
#include <string>

#include "dist/collectives.h"
#include "dist/thread_communicator.h"

namespace spq::dist {
namespace {

using ::testing::HasSubstr;

std::string error_of_ranks(int world_size, const std::function<void(Communicator&)>& body) {
  try {
    run_ranks(world_size, body);
  } catch (const std::exception& error) {
    return error.what();
  }
  return "";
}

TEST(RunRanks, RunsEveryRankOnce) {
  std::array<std::atomic<int>, 4> runs{};
  run_ranks(4, [&](Communicator& comm) { ++runs[static_cast<size_t>(comm.rank())]; });
  for (const auto& count : runs) EXPECT_EQ(count, 1);
}

TEST(RunRanks, EndsRanksThatWaitInABarrierWithTheCause) {
  std::atomic<int> num_aborted = 0;
  const std::string error = error_of_ranks(4, [&](Communicator& comm) {
    if (comm.rank() == 2) fail("rank two is out of paper");
    try {
      comm.barrier();
    } catch (const AbortedError& aborted) {
      EXPECT_THAT(aborted.what(), HasSubstr("rank two is out of paper"));
      ++num_aborted;
      throw;
    }
  });
  EXPECT_EQ(error, "rank two is out of paper");
  EXPECT_EQ(num_aborted, 3);
}

TEST(RunRanks, EndsRanksThatWaitForAGather) {
  const std::string error = error_of_ranks(3, [](Communicator& comm) {
    if (comm.rank() == 0) throw std::logic_error("not an spq::Error");
    const RowPartition rows(3, 3);
    const at::Tensor whole = at::zeros({3, 2});
    comm.all_gather_rows(at::zeros({1, 2}), whole, rows)->wait();
  });
  EXPECT_EQ(error, "not an spq::Error");
}

TEST(RunRanks, PrefersTheCauseWhenTheBodyAbortsItself) {
  std::atomic<int> num_aborted = 0;
  const std::string error = error_of_ranks(3, [&](Communicator& comm) {
    if (comm.rank() == 1) {
      comm.abort("told to");
      while (num_aborted < 2) std::this_thread::yield();  // the others have failed first
      fail("the cause");
    }
    try {
      comm.barrier();
    } catch (const AbortedError& aborted) {
      EXPECT_THAT(aborted.what(), HasSubstr("told to"));
      ++num_aborted;
      throw;
    }
  });
  EXPECT_EQ(error, "the cause");
}

TEST(RunRanks, PassesOnWhatIsNoStdException) {
  EXPECT_THROW(run_ranks(2,
                         [](Communicator& comm) {
                           if (comm.rank() == 1) throw 7;
                           comm.barrier();
                         }),
               int);
}

TEST(ThreadGroup, FailsLaterCallsAfterAnAbort) {
  ThreadGroup group(2);
  const auto first = group.communicator(0);
  const auto second = group.communicator(1);
  first->abort("enough");
  first->abort("only the first reason counts");
  EXPECT_THAT([&] { second->barrier(); }, ::testing::ThrowsMessage<AbortedError>(HasSubstr("enough")));
  EXPECT_THROW(first->barrier(), AbortedError);
}

TEST(ThreadGroup, RefusesDifferentCollectivesAtTheSameTime) {
  const std::string error = error_of_ranks(2, [](Communicator& comm) {
    at::Tensor tensor = at::zeros({2});
    comm.rank() == 0 ? comm.barrier() : comm.broadcast(tensor, 0);
  });
  EXPECT_EQ(error, "ranks call different collectives: rank 0 barrier, rank 1 broadcast from 0");
}

TEST(ThreadGroup, RefusesSizesThatDoNotMatch) {
  const std::string error = error_of_ranks(2, [](Communicator& comm) {
    at::Tensor tensor = at::zeros({2 + comm.rank()});
    comm.broadcast(tensor, 0);
  });
  EXPECT_EQ(error, "broadcast from 0: rank 0 sends 8 bytes to rank 1, which expects 12");
}

// Rank 1 starts only after rank 0's start has returned: a start that blocks would never end.
TEST(ThreadGroup, StartsAGatherWithoutWaitingForOtherRanks) {
  std::latch started(1);
  run_ranks(2, [&](Communicator& comm) {
    const RowPartition rows(2, 2);
    const at::Tensor whole = at::zeros({2, 3});
    const at::Tensor shard = at::full({1, 3}, comm.rank() + 1);
    if (comm.rank() == 1) started.wait();
    const auto work = comm.all_gather_rows(shard.to(at::kFloat), whole, rows);
    if (comm.rank() == 0) started.count_down();
    work->wait();
    EXPECT_EQ(whole[0][0].item<float>(), 1.0F);
    EXPECT_EQ(whole[1][2].item<float>(), 2.0F);
  });
}

// Rank 0's wait must not depend on the other rank's wait, only on its start.
TEST(ThreadGroup, CompletesAGatherThatOthersHaveOnlyStarted) {
  std::latch waited(1);
  run_ranks(2, [&](Communicator& comm) {
    const at::Tensor whole = at::zeros({2, 3});
    const auto work = comm.all_gather_rows(at::full({1, 3}, 1.0F), whole, RowPartition(2, 2));
    if (comm.rank() == 1) waited.wait();
    work->wait();
    if (comm.rank() == 0) waited.count_down();
    EXPECT_EQ(whole.sum().item<float>(), 6.0F);
  });
}

TEST(ThreadGroup, StaysInStepOverManyCollectives) {
  run_ranks(4, [](Communicator& comm) {
    for (int i = 0; i < 200; ++i) {
      at::Tensor value = at::full({5}, comm.rank() + i, at::kDouble);
      all_reduce_sum(comm, value);
      ASSERT_EQ(value[4].item<double>(), 6.0 + 4.0 * i);
    }
  });
}

}  // namespace
}  // namespace spq::dist
