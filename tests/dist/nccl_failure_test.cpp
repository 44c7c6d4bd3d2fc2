// How a job over NCCL ends: on every rank, with the first cause told once.
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "dist/collectives.h"
#include "dist/device_communicator.h"
#include "dist/thread_communicator.h"
#include "tests/dist/device_tools.h"
#include "tests/dist/fake_device.h"

namespace spq::dist::testing {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr int kWorld = 3;

void gather(Communicator& comm) {
  const RowPartition rows(6, comm.world_size());
  const at::Tensor whole = at::zeros({6, 2});
  comm.all_gather_rows(at::zeros({2, 2}), whole, rows)->wait();
}

/// The ranks of a job, which is to fail; what each of them ended with.
class NcclFailure : public ::testing::Test {
 protected:
  using Body = std::function<void(Communicator& comm)>;

  NcclFailure() { standin().reset(); }

  /// Runs the job; returns what it ended with.
  std::string run(const NcclOptions& options, const Body& body) {
    NcclOptions reporting = options;
    reporting.library = SPQ_NCCL_STANDIN;
    reporting.report = [this](std::string_view text) {
      std::lock_guard lock(mutex_);
      reports_.emplace_back(text);
    };
    try {
      run_ranks(kWorld, [&](Communicator& host) {
        const auto device = std::make_shared<FakeDevice>();
        try {
          const auto comm = make_device_communicator(host, device, reporting, DeviceLink::kNccl);
          body(*comm);
        } catch (const AbortedError& error) {
          note(aborted_, error.what());
          throw;
        } catch (const Error& error) {
          note(causes_, error.what());
          throw;
        }
      });
    } catch (const std::exception& error) {
      EXPECT_EQ(standin().num_open(), 0);
      return error.what();
    }
    return "";
  }

  /// One rank failed with `cause`, all others were ended because of it.
  void expect_one_cause(const std::string& cause) {
    EXPECT_THAT(causes_, ElementsAre(HasSubstr(cause)));
    EXPECT_EQ(aborted_.size(), kWorld - 1u);
    for (const std::string& text : aborted_) {
      EXPECT_THAT(text, AllOf(HasSubstr("aborted because another rank failed"), HasSubstr(cause)));
    }
    EXPECT_THAT(standin().problems(), IsEmpty());
  }

  std::vector<std::string> reports_;
  std::vector<std::string> causes_;
  std::vector<std::string> aborted_;

 private:
  void note(std::vector<std::string>& texts, const char* text) {
    std::lock_guard lock(mutex_);
    texts.emplace_back(text);
  }

  std::mutex mutex_;
};

/// Gathers until the job ends.
void gather_on(Communicator& comm) {
  for (int i = 0; i < 1000; ++i) gather(comm);
  ADD_FAILURE() << "the job did not end";
}

TEST_F(NcclFailure, OfACallEndsAllRanks) {
  standin().fail_group(1, 4, NcclResult::kSystemError);
  const std::string cause =
      "all-gather number 4 (1 matrix, 48 bytes) failed on rank 1: unhandled system error (says the stand-in)";
  EXPECT_EQ(run({}, gather_on), cause);
  expect_one_cause(cause);
  EXPECT_THAT(reports_, IsEmpty()) << "the rank that throws it reports it";
}

TEST_F(NcclFailure, OfTheReductionEndsAllRanks) {
  standin().fail_group(2, 2, NcclResult::kInternalError);
  EXPECT_THAT(run({},
                  [](Communicator& comm) {
                    for (int i = 0; i < 1000; ++i) {
                      at::Tensor sum = at::full({9000}, 1.0F);
                      all_reduce_sum(comm, sum);
                    }
                  }),
              HasSubstr("failed on rank 2: internal error"));
  expect_one_cause("failed on rank 2: internal error");
}

TEST_F(NcclFailure, ThatComesLaterEndsAllRanks) {
  EXPECT_THAT(run({},
                  [](Communicator& comm) {
                    gather(comm);
                    if (comm.rank() == 2) standin().set_async_error(2, NcclResult::kSystemError);
                    gather_on(comm);
                  }),
              HasSubstr("on rank 2"));
  expect_one_cause("on rank 2");
  expect_one_cause("unhandled system error");
  EXPECT_LE(reports_.size(), 1u);
}

TEST_F(NcclFailure, WhileARankComputesIsNoticedAndReportedOnce) {
  EXPECT_THAT(run({},
                  [](Communicator& comm) {
                    gather(comm);
                    if (comm.rank() == 0) standin().set_async_error(0, NcclResult::kSystemError);
                    while (comm.end_reason().empty())
                      std::this_thread::sleep_for(std::chrono::milliseconds(5));
                    gather_on(comm);
                  }),
              HasSubstr("NCCL met an error on rank 0 in no collective"));
  expect_one_cause("NCCL met an error on rank 0");
  EXPECT_THAT(reports_, ElementsAre(HasSubstr("NCCL met an error on rank 0")));
}

TEST_F(NcclFailure, OfAnotherRankIsLeftToThatRank) {
  EXPECT_THAT(run({.grace = 5},
                  [](Communicator& comm) {
                    gather(comm);
                    if (comm.rank() == 0) standin().set_async_error(0, NcclResult::kRemoteError);
                    if (comm.rank() == 1) {
                      std::this_thread::sleep_for(std::chrono::milliseconds(200));
                      standin().set_async_error(1, NcclResult::kSystemError);
                    }
                    gather_on(comm);
                  }),
              HasSubstr("on rank 1"));
  expect_one_cause("on rank 1");
}

TEST_F(NcclFailure, OfAnotherRankIsToldWhereThatRankSaysNothing) {
  EXPECT_THAT(run({.grace = 0.1},
                  [](Communicator& comm) {
                    gather(comm);
                    if (comm.rank() == 0) standin().set_async_error(0, NcclResult::kRemoteError);
                    gather_on(comm);
                  }),
              HasSubstr("remote process exited"));
  expect_one_cause("on rank 0");
}

TEST_F(NcclFailure, IsACollectiveThatDoesNotEndInTime) {
  standin().hang_group(2, 3);
  const std::string cause =
      "all-gather number 3 (1 matrix, 48 bytes) did not end within 0.5 seconds on rank 0";
  EXPECT_EQ(run({.timeout = 0.5, .stagger = 0.5}, gather_on), cause);
  expect_one_cause(cause);
  EXPECT_THAT(reports_, ElementsAre(cause));
}

TEST_F(NcclFailure, IsARankThatDoesNotCome) {
  EXPECT_THAT(run({.timeout = 0.5, .stagger = 0.5},
                  [](Communicator& comm) {
                    gather(comm);
                    while (comm.rank() == 1 && comm.end_reason().empty()) {
                      std::this_thread::sleep_for(std::chrono::milliseconds(5));
                    }
                    gather_on(comm);
                  }),
              HasSubstr("all-gather number 2 (1 matrix, 48 bytes) did not end within 0.5 seconds on rank 0"));
  expect_one_cause("on rank 0");
  EXPECT_EQ(reports_.size(), 1u);
}

TEST_F(NcclFailure, OfARanksOwnWorkEndsTheGathersOfTheOthers) {
  EXPECT_EQ(run({},
                [](Communicator& comm) {
                  gather(comm);
                  if (comm.rank() == 1) fail("rank one is out of memory");
                  gather_on(comm);
                }),
            "rank one is out of memory");
  expect_one_cause("rank one is out of memory");
  EXPECT_THAT(reports_, IsEmpty());
}

TEST_F(NcclFailure, OfInitialisationEndsAllRanks) {
  standin().fail_init(1, NcclResult::kSystemError);
  const std::string cause =
      "NCCL initialisation (gathers) failed on rank 1: unhandled system error (says the stand-in)";
  EXPECT_EQ(run({}, gather_on), cause);
  expect_one_cause(cause);
}

TEST_F(NcclFailure, IsAnInitialisationThatHangs) {
  standin().hang_init(2);
  const std::string cause =
      "NCCL initialisation (gathers) did not get under way within 0.3 seconds on rank 0";
  EXPECT_EQ(run({.timeout = 0.3, .stagger = 0.5}, gather_on), cause);
  expect_one_cause(cause);
}

TEST_F(NcclFailure, IsACallThatDoesNotMatchTheOthers) {
  EXPECT_THAT(run({},
                  [](Communicator& comm) {
                    gather(comm);
                    const RowPartition rows(3, comm.world_size());
                    const at::Tensor whole = at::zeros({3, comm.rank() == 1 ? 4 : 5});
                    comm.all_gather_rows(whole.narrow(0, 0, 1).clone(), whole, rows)->wait();
                    gather_on(comm);
                  }),
              HasSubstr("invalid usage"));
  EXPECT_THAT(
      standin().problems(),
      ElementsAre("ranks do not match: all_gather 20 (place 0 of 1) and all_gather 16 (place 0 of 1)"));
}

TEST_F(NcclFailure, IsFinal) {
  standin().fail_group(0, 1, NcclResult::kSystemError);
  run({}, [](Communicator& comm) {
    std::string first;
    try {
      gather_on(comm);
    } catch (const Error& error) {
      first = error.what();
    }
    EXPECT_THAT([&] { gather(comm); }, ::testing::ThrowsMessage<Error>(first));
    EXPECT_THAT([&] { comm.barrier(); }, ::testing::ThrowsMessage<Error>(first));
    fail("{}", first);
  });
  EXPECT_EQ(standin().num_destroyed(), 0);
}

}  // namespace
}  // namespace spq::dist::testing
