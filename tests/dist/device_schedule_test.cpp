// Units gathered one ahead by GatherSchedule while a device computes: what waits for what. Streams that lag
// bring out a wait that is missing; that they do is tested by taking waits away.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "dist/device_communicator.h"
#include "dist/gather_schedule.h"
#include "dist/thread_communicator.h"
#include "tests/dist/contract_tools.h"
#include "tests/dist/device_tools.h"
#include "tests/dist/fake_device.h"

namespace spq::dist::testing {
namespace {

using ::testing::ElementsAre;

constexpr int64_t kNumUnits = 5;

at::Tensor unit_matrix(int64_t unit, int64_t index) {
  return numbered(index == 0 ? 12 : 7, 5, at::kFloat, 10 * unit + index);
}

/// Walks units as the sharded weights do; each use is work on the compute stream that compares the unit.
class Walker {
 public:
  Walker(Communicator& comm, FakeDevice& device, std::atomic<int>& num_wrong)
      : device_(device),
        num_wrong_(num_wrong),
        store_(comm.make_shards(units(comm))),
        schedule_([this](int64_t unit) { return start(unit); }, [this](int64_t unit) { drop(unit); }) {}

  void walk(const std::vector<int64_t>& order) {
    schedule_.begin(order);
    for (const int64_t unit : order) {
      schedule_.acquire(unit);
      device_.compute(fmt::format("use {}", unit), [this, unit, matrices = gathered_.at(unit)] {
        for (size_t i = 0; i < matrices.size(); ++i) {
          if (!same_bytes(matrices[i], unit_matrix(unit, static_cast<int64_t>(i)))) ++num_wrong_;
        }
      });
    }
  }

  void end() {
    schedule_.release_all();
    device_.synchronize();
  }

 private:
  static std::vector<ShardUnit> units(Communicator& comm) {
    std::vector<ShardUnit> units(kNumUnits);
    for (int64_t u = 0; u < kNumUnits; ++u) {
      for (int64_t i = 0; i < 2; ++i) {
        const at::Tensor whole = unit_matrix(u, i);
        const RowPartition rows(whole.size(0), comm.world_size());
        units[static_cast<size_t>(u)].push_back({own_rows(comm, whole, rows), rows});
      }
    }
    return units;
  }

  std::vector<std::unique_ptr<Work>> start(int64_t unit) {
    GatheredUnit gathered = store_->gather(static_cast<size_t>(unit));
    gathered_[unit] = std::move(gathered.matrices);
    return std::move(gathered.works);
  }

  void drop(int64_t unit) {
    gathered_.erase(unit);
    store_->drop(static_cast<size_t>(unit));
  }

  FakeDevice& device_;
  std::atomic<int>& num_wrong_;
  std::unique_ptr<ShardStore> store_;
  std::map<int64_t, std::vector<at::Tensor>> gathered_;
  GatherSchedule schedule_;
};

/// How many uses saw something else than their unit, over all ranks.
int num_wrong_uses(DeviceLink link, int world, Streams lagging, Streams not_waiting) {
  standin().reset();
  std::atomic<int> num_wrong = 0;
  run_ranks(world, [&](Communicator& host) {
    const auto device = std::make_shared<FakeDevice>(
        FakeDeviceOptions{.has_compute_stream = true, .lagging = lagging, .not_waiting = not_waiting});
    const auto comm = make_device_communicator(host, device, standin_options(), link);
    Walker walker(*comm, *device, num_wrong);
    walker.walk({0, 1, 2, 3, 4, 3, 2, 1, 0});  // forward and backward
    walker.walk({0, 1, 2, 3, 4});
    walker.walk({4, 3, 2, 1, 0});
    walker.end();
    host.barrier();  // a copy on the host may be read by other ranks
  });
  EXPECT_THAT(standin().problems(), ::testing::IsEmpty());
  return num_wrong;
}

constexpr std::array kLinks{DeviceLink::kNccl, DeviceLink::kStaged};

TEST(DeviceSchedule, ComputesWithTheRightUnitHoweverTheStreamsLag) {
  for (const DeviceLink link : kLinks) {
    for (const Streams lagging : {Streams::kNone, Streams::kCompute, Streams::kTransfers}) {
      for (const int world : {2, 3}) {
        EXPECT_EQ(num_wrong_uses(link, world, lagging, Streams::kNone), 0)
            << static_cast<int>(link) << static_cast<int>(lagging) << world;
      }
    }
  }
}

TEST(DeviceSchedule, WouldComputeTooEarlyIfComputingDidNotWaitForTheGather) {
  for (const DeviceLink link : kLinks) {
    EXPECT_GT(num_wrong_uses(link, 2, Streams::kTransfers, Streams::kCompute), 0) << static_cast<int>(link);
  }
}

TEST(DeviceSchedule, WouldOverwriteAUnitInUseIfTheGatherDidNotWaitForComputing) {
  for (const DeviceLink link : kLinks) {
    EXPECT_GT(num_wrong_uses(link, 2, Streams::kCompute, Streams::kTransfers), 0) << static_cast<int>(link);
  }
}

TEST(DeviceSchedule, IssuesTheNextGatherBeforeTheUseOfTheUnitThatHasCome) {
  standin().reset();
  run_ranks(2, [](Communicator& host) {
    const auto device = std::make_shared<FakeDevice>(FakeDeviceOptions{.has_compute_stream = true});
    const auto comm = make_device_communicator(host, device, standin_options(), DeviceLink::kNccl);
    std::atomic<int> num_wrong = 0;
    Walker walker(*comm, *device, num_wrong);
    const size_t num_before = device->log().size();
    walker.walk({0, 1, 2, 1});
    walker.end();
    std::vector<std::string> log;
    for (const std::string& line : device->log()) {
      if (line.find("keep") == std::string::npos) log.push_back(line);
    }
    log.erase(log.begin(), log.begin() + static_cast<std::ptrdiff_t>(num_before));
    const std::string gather = "gathers: [all_gather 120; broadcast 80 from 0; broadcast 60 from 1]";
    EXPECT_THAT(log, ElementsAre("gathers: wait for compute", gather,            // 0
                                 "compute: wait for gathers",                    // 0 has come
                                 "gathers: wait for compute", gather,            // 1
                                 "compute: use 0", "compute: wait for gathers",  // 1 has come
                                 "gathers: wait for compute", gather,            // 2, in 0's place
                                 "compute: use 1", "compute: wait for gathers",  // 2 has come; 1 stays
                                 "compute: use 2", "compute: use 1"));
    EXPECT_EQ(num_wrong, 0);
  });
}

}  // namespace
}  // namespace spq::dist::testing
