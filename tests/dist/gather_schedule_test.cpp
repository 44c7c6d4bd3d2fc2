#include "dist/gather_schedule.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>

#include "core/error.h"

namespace spq::dist {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

/// Writes down starts, ends of waits and drops; units in `broken` fail in wait.
class Recorder {
 public:
  GatherSchedule schedule() {
    return {[this](int64_t unit) { return start(unit); }, [this](int64_t unit) { drop(unit); }};
  }

  /// The events since the last call.
  std::vector<std::string> take() { return std::exchange(events_, {}); }
  size_t most_held() const { return most_held_; }
  const std::set<int64_t>& held() const { return held_; }
  std::set<int64_t> broken;

 private:
  class RecordedWork final : public Work {
   public:
    RecordedWork(Recorder& recorder, int64_t unit) : recorder_(recorder), unit_(unit) {}
    void wait() override {
      recorder_.events_.push_back(fmt::format("wait {}", unit_));
      check(!recorder_.broken.contains(unit_), "unit {} is broken", unit_);
    }

   private:
    Recorder& recorder_;
    int64_t unit_;
  };

  std::vector<std::unique_ptr<Work>> start(int64_t unit) {
    EXPECT_TRUE(held_.insert(unit).second) << "unit " << unit << " is gathered twice at a time";
    most_held_ = std::max(most_held_, held_.size());
    events_.push_back(fmt::format("start {}", unit));
    std::vector<std::unique_ptr<Work>> works;
    works.push_back(std::make_unique<RecordedWork>(*this, unit));
    return works;
  }

  void drop(int64_t unit) {
    EXPECT_EQ(held_.erase(unit), 1u) << "unit " << unit << " is not held";
    events_.push_back(fmt::format("drop {}", unit));
  }

  std::vector<std::string> events_;
  std::set<int64_t> held_;
  size_t most_held_ = 0;
};

TEST(GatherSchedule, StartsTheNextUnitWhenOneIsAcquired) {
  Recorder recorder;
  GatherSchedule schedule = recorder.schedule();
  schedule.begin({0, 1, 2});
  EXPECT_THAT(recorder.take(), ElementsAre("start 0"));
  schedule.acquire(0);
  EXPECT_THAT(recorder.take(), ElementsAre("wait 0", "start 1"));
  schedule.acquire(1);
  EXPECT_THAT(recorder.take(), ElementsAre("wait 1", "drop 0", "start 2"));
  schedule.acquire(2);
  EXPECT_THAT(recorder.take(), ElementsAre("wait 2", "drop 1"));
  schedule.release_all();
  EXPECT_THAT(recorder.take(), ElementsAre("drop 2"));
}

TEST(GatherSchedule, GathersNoUnitAgainAtTheTurnOfForwardAndBackward) {
  Recorder recorder;
  GatherSchedule schedule = recorder.schedule();
  schedule.begin({0, 1, 2, 3, 3, 2, 1, 0});
  for (const int64_t unit : {0, 1, 2}) schedule.acquire(unit);
  recorder.take();
  schedule.acquire(3);
  EXPECT_THAT(recorder.take(), ElementsAre("wait 3")) << "2 is needed right after 3, so it stays";
  schedule.acquire(3);
  EXPECT_THAT(recorder.take(), IsEmpty());
  schedule.acquire(2);
  EXPECT_THAT(recorder.take(), ElementsAre("drop 3", "start 1"));
  schedule.acquire(1);
  EXPECT_THAT(recorder.take(), ElementsAre("wait 1", "drop 2", "start 0"));
  schedule.acquire(0);
  EXPECT_THAT(recorder.take(), ElementsAre("wait 0", "drop 1"));
  EXPECT_EQ(recorder.most_held(), 2u);
}

TEST(GatherSchedule, KeepsTheLastUnitForAWalkThatBeginsWithIt) {
  Recorder recorder;
  GatherSchedule schedule = recorder.schedule();
  schedule.begin({0, 1, 2});
  for (const int64_t unit : {0, 1, 2}) schedule.acquire(unit);
  recorder.take();
  schedule.begin({2, 1, 0});
  EXPECT_THAT(recorder.take(), ElementsAre("start 1")) << "2 is there: the first gather needed is 1's";
  schedule.acquire(2);
  EXPECT_THAT(recorder.take(), IsEmpty());
  schedule.acquire(1);
  EXPECT_THAT(recorder.take(), ElementsAre("wait 1", "drop 2", "start 0"));
  schedule.acquire(0);
  EXPECT_THAT(recorder.take(), ElementsAre("wait 0", "drop 1"));
  schedule.begin({0, 1, 2});
  EXPECT_THAT(recorder.take(), ElementsAre("start 1"));
  EXPECT_EQ(recorder.most_held(), 2u);
}

TEST(GatherSchedule, DropsTheLastUnitForAWalkThatBeginsWithAnother) {
  Recorder recorder;
  GatherSchedule schedule = recorder.schedule();
  schedule.begin({0, 1});
  for (const int64_t unit : {0, 1}) schedule.acquire(unit);
  recorder.take();
  schedule.begin({0, 1});
  EXPECT_THAT(recorder.take(), ElementsAre("drop 1", "start 0"));
  schedule.acquire(0);
  EXPECT_THAT(recorder.take(), ElementsAre("wait 0", "start 1"));
}

TEST(GatherSchedule, KeepsTheUnitInFlightForAWalkThatBeginsWithIt) {
  Recorder recorder;
  GatherSchedule schedule = recorder.schedule();
  schedule.begin({0, 1, 2});
  schedule.acquire(0);
  recorder.take();
  schedule.begin({1, 0});
  EXPECT_THAT(recorder.take(), ElementsAre("drop 0"));
  schedule.acquire(1);
  EXPECT_THAT(recorder.take(), ElementsAre("wait 1", "start 0"));
}

TEST(GatherSchedule, WaitsForAGatherInFlightBeforeItDropsTheUnit) {
  Recorder recorder;
  GatherSchedule schedule = recorder.schedule();
  schedule.begin({0, 1, 2});
  schedule.acquire(0);
  recorder.take();
  schedule.begin({5, 6});
  EXPECT_THAT(recorder.take(), ElementsAre("drop 0", "wait 1", "drop 1", "start 5"));
}

TEST(GatherSchedule, KeepsBothUnitsForAWalkThatBeginsWithBoth) {
  Recorder recorder;
  GatherSchedule schedule = recorder.schedule();
  schedule.begin({0, 1, 2});
  schedule.acquire(0);
  recorder.take();
  schedule.begin({0, 1, 3});
  EXPECT_THAT(recorder.take(), IsEmpty());
  schedule.acquire(0);
  schedule.acquire(1);
  EXPECT_THAT(recorder.take(), ElementsAre("wait 1", "drop 0", "start 3"));
}

TEST(GatherSchedule, TakesTheUnitAcquiredLastAgain) {
  Recorder recorder;
  GatherSchedule schedule = recorder.schedule();
  schedule.begin({0, 1, 0});
  schedule.acquire(0);
  recorder.take();
  schedule.acquire(0);
  EXPECT_THAT(recorder.take(), IsEmpty());
  schedule.acquire(1);
  schedule.acquire(0);
  EXPECT_THAT(recorder.take(), ElementsAre("wait 1", "drop 1"));
}

TEST(GatherSchedule, HoldsTwoUnitsAtMostOverManySteps) {
  Recorder recorder;
  GatherSchedule schedule = recorder.schedule();
  constexpr int64_t kNumUnits = 5;
  for (int step = 0; step < 4; ++step) {
    std::vector<int64_t> order;
    for (int64_t unit = 0; unit < kNumUnits; ++unit) order.push_back(unit);
    for (int64_t unit = kNumUnits - 1; unit >= 0; --unit) order.push_back(unit);
    schedule.begin(order);
    for (const int64_t unit : order) {
      schedule.acquire(unit);
      EXPECT_TRUE(recorder.held().contains(unit));
    }
  }
  EXPECT_EQ(recorder.most_held(), 2u);
  schedule.release_all();
  EXPECT_THAT(recorder.held(), IsEmpty());
}

TEST(GatherSchedule, EndsWithNothingHeldOrInFlight) {
  Recorder recorder;
  {
    GatherSchedule schedule = recorder.schedule();
    schedule.begin({0, 1, 2});
    schedule.acquire(0);
    recorder.take();
  }
  EXPECT_THAT(recorder.take(), ElementsAre("drop 0", "wait 1", "drop 1"));
}

TEST(GatherSchedule, PassesOnTheFailureOfAGatherAndStillDropsEverything) {
  Recorder recorder;
  recorder.broken = {1};
  {
    GatherSchedule schedule = recorder.schedule();
    schedule.begin({0, 1, 2});
    schedule.acquire(0);
    EXPECT_THROW(schedule.acquire(1), Error);
    EXPECT_THROW(schedule.acquire(1), Error) << "a failed unit must not pass for complete later";
    EXPECT_THAT(recorder.held(), ElementsAre(0, 1));
  }
  EXPECT_THAT(recorder.held(), IsEmpty()) << "dropped by the destructor, which does not throw";
}

TEST(GatherSchedule, ReportsAFailureWhileReleasingAfterDroppingEverything) {
  Recorder recorder;
  recorder.broken = {1};
  GatherSchedule schedule = recorder.schedule();
  schedule.begin({0, 1, 2});
  schedule.acquire(0);
  EXPECT_THROW(schedule.release_all(), Error);
  EXPECT_THAT(recorder.held(), IsEmpty());
  schedule.begin({3});
  schedule.acquire(3);
  EXPECT_THAT(recorder.held(), ElementsAre(3));
}

TEST(GatherSchedule, DiesWhenTheOrderIsNotKept) {
  Recorder recorder;
  GatherSchedule schedule = recorder.schedule();
  EXPECT_DEATH(schedule.acquire(0), "internal error");
  schedule.begin({0, 1, 2});
  EXPECT_DEATH(schedule.acquire(1), "internal error");
  schedule.acquire(0);
  EXPECT_DEATH(schedule.acquire(2), "internal error");
  schedule.acquire(1);
  schedule.acquire(2);
  EXPECT_DEATH(schedule.acquire(0), "internal error") << "the order is at its end";
}

}  // namespace
}  // namespace spq::dist
