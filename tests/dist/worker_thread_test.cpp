#include "dist/worker_thread.h"

#include <gtest/gtest.h>

#include <atomic>
#include <latch>
#include <thread>
#include <vector>

#include "core/error.h"

namespace spq::dist {
namespace {

TEST(WorkerThread, RunsJobsInTheOrderGiven) {
  std::vector<int> order;
  WorkerThread worker;
  std::vector<std::unique_ptr<Work>> works;
  for (int i = 0; i < 100; ++i) works.push_back(worker.run([&order, i] { order.push_back(i); }));
  works.back()->wait();
  ASSERT_EQ(order.size(), 100u);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(order[static_cast<size_t>(i)], i);
}

TEST(WorkerThread, RunsWhileTheCallerGoesOn) {
  WorkerThread worker;
  std::latch caller_went_on(1);
  const auto work = worker.run([&] { caller_went_on.wait(); });
  caller_went_on.count_down();
  work->wait();
}

TEST(WorkerThread, HasReleasedTheJobWhenWaitReturns) {
  WorkerThread worker;
  for (int i = 0; i < 100; ++i) {
    auto buffer = std::make_shared<int>(i);
    const auto work = worker.run([buffer] { ++*buffer; });
    work->wait();
    EXPECT_EQ(buffer.use_count(), 1);
  }
}

TEST(WorkerThread, RunsWhatIsQueuedBeforeItEnds) {
  std::atomic<int> count = 0;
  {
    WorkerThread worker;
    for (int i = 0; i < 10; ++i) worker.run([&] { ++count; });
  }
  EXPECT_EQ(count, 10);
}

std::string failure_of(Work& work) {
  try {
    work.wait();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(WorkerThread, RethrowsAFailureInEveryWait) {
  WorkerThread worker;
  const auto work = worker.run([] { fail("line is down"); });
  EXPECT_EQ(failure_of(*work), "line is down");
  EXPECT_EQ(failure_of(*work), "line is down");
}

TEST(WorkerThread, RunsNothingAfterAFailureAndSaysWhy) {
  WorkerThread worker;
  bool ran = false;
  worker.run([] { fail("line is down"); });
  const auto second = worker.run([&] { ran = true; });
  const auto third = worker.run([&] { ran = true; });
  EXPECT_EQ(failure_of(*second), "not done because an earlier collective failed: line is down");
  EXPECT_EQ(failure_of(*third), "not done because an earlier collective failed: line is down");
  EXPECT_FALSE(ran);
}

TEST(WorkerThread, LooksAroundAgainAndAgainWhileIdle) {
  std::latch looked(2);
  std::atomic<int> left = 2;
  WorkerThread worker([&] {
    if (left-- > 0) looked.count_down();
  });
  looked.wait();
  worker.run([] {})->wait();
}

TEST(WorkerThread, FailsWhenLookingAroundFails) {
  std::atomic<int> looks = 0;
  WorkerThread worker([&] {
    ++looks;
    fail("nobody there");
  });
  while (looks == 0) std::this_thread::yield();
  EXPECT_EQ(failure_of(*worker.run([] {})), "not done because an earlier collective failed: nobody there");
  EXPECT_EQ(looks, 1);
}

}  // namespace
}  // namespace spq::dist
