// Device tensors over the real NCCL and staged through host memory, against the same collectives on the CPU.
// Ranks are threads. Skipped without a GPU.
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "dist/collectives.h"
#include "dist/cuda_runtime.h"
#include "dist/device.h"
#include "dist/device_communicator.h"
#include "dist/single_communicator.h"
#include "dist/thread_communicator.h"

namespace spq::dist {
namespace {

at::Tensor numbered(int64_t num_rows, int64_t width, at::ScalarType dtype, int64_t seed) {
  return at::arange(num_rows * width, at::kDouble)
      .mul(0.37)
      .add(static_cast<double>(seed))
      .sin()
      .reshape({num_rows, width})
      .to(dtype);
}

at::Tensor own_rows(const Communicator& comm, const at::Tensor& whole, const RowPartition& rows) {
  return whole.narrow(0, rows.begin(comm.rank()), rows.count(comm.rank())).clone();
}

/// Units walked up and down, one ahead, each multiplied by itself where it lies.
void use_shards(Communicator& comm, std::vector<at::Tensor>& results) {
  std::vector<ShardUnit> units(4);
  for (int64_t u = 0; u < 4; ++u) {
    for (const int64_t num_rows : {384, 259}) {
      const RowPartition rows(num_rows, comm.world_size());
      const at::Tensor whole = numbered(num_rows, 512, at::kBFloat16, u);
      units[static_cast<size_t>(u)].push_back({own_rows(comm, whole, rows), rows});
    }
  }
  const auto store = comm.make_shards(std::move(units));
  const std::vector<size_t> walk{0, 1, 2, 3, 2, 1, 0};
  GatheredUnit current = store->gather(walk[0]);
  for (size_t n = 0; n < walk.size(); ++n) {
    GatheredUnit next;
    if (n + 1 < walk.size()) next = store->gather(walk[n + 1]);
    for (const auto& work : current.works) work->wait();
    for (const at::Tensor& matrix : current.matrices) results.push_back(matrix.add(matrix));
    store->drop(walk[n]);
    current = std::move(next);
  }
}

/// Every kind of collective with inputs on `device`; the results in host memory.
std::vector<at::Tensor> results_of(Communicator& comm, c10::Device device) {
  std::vector<at::Tensor> results;
  for (const at::ScalarType dtype : {at::kBFloat16, at::kFloat, at::kDouble}) {
    for (const int64_t num_rows : {24, 23, 1}) {
      const RowPartition rows(num_rows, comm.world_size());
      const at::Tensor mine = own_rows(comm, numbered(num_rows, 4096, dtype, 3), rows).to(device);
      results.push_back(at::empty({num_rows, 4096}, mine.options()));
      comm.all_gather_rows(mine, results.back(), rows)->wait();
    }
  }
  for (const int64_t length : {1 << 20, 7}) {
    at::Tensor sum = numbered(1, length, at::kFloat, comm.rank()).to(device);
    all_reduce_sum(comm, sum);
    results.push_back(sum);
  }
  std::vector<at::Tensor> send;
  std::vector<at::Tensor> receive;
  for (int r = 0; r < comm.world_size(); ++r) {
    send.push_back(at::full({100 * comm.rank() + r, 3}, r, at::kLong).to(device));
    receive.push_back(at::full({100 * r + comm.rank(), 3}, -1, at::kLong).to(device));
  }
  comm.all_to_all(send, receive);
  for (const at::Tensor& tensor : receive) results.push_back(tensor);
  results.push_back(numbered(5, 1000, at::kFloat, comm.rank()).to(device));
  comm.broadcast(results.back(), comm.world_size() - 1);
  use_shards(comm, results);
  for (at::Tensor& result : results) result = result.cpu();
  return results;
}

void expect_results_of_the_cpu(int world, int num_devices, DeviceLink link) {
  run_ranks(world, [&](Communicator& host) {
    const std::vector<at::Tensor> expected = results_of(host, c10::Device(c10::kCPU));
    const c10::Device device(c10::kCUDA, static_cast<c10::DeviceIndex>(host.rank() % num_devices));
    use_cuda_device(device.index());
    const auto comm = make_device_communicator(host, make_cuda_runtime(device), {.timeout = 120}, link);
    const std::vector<at::Tensor> results = results_of(*comm, device);
    ASSERT_EQ(results.size(), expected.size());
    for (size_t i = 0; i < results.size(); ++i) EXPECT_TRUE(results[i].equal(expected[i])) << "result " << i;
  });
}

class DeviceCommunication : public ::testing::Test {
 protected:
  void SetUp() override {
    SingleCommunicator alone;
    const RankDevice opened = open_device(alone, ComputeDevice::kAuto);
    if (opened.device.is_cpu()) GTEST_SKIP() << "no GPU: " << opened.note;
    num_devices_ = find_cuda_devices().count;
  }
  int num_devices_ = 0;
};

TEST_F(DeviceCommunication, OfOneRankWorksOverNcclToo) {
  expect_results_of_the_cpu(1, 1, DeviceLink::kNccl);
}

TEST_F(DeviceCommunication, GivesTheBitsOfTheCpuOverNccl) {
  if (num_devices_ < 2) GTEST_SKIP() << "one GPU only";
  expect_results_of_the_cpu(std::min(num_devices_, 8), num_devices_, DeviceLink::kNccl);
}

TEST_F(DeviceCommunication, GivesTheBitsOfTheCpuWhereRanksShareAGpu) {
  expect_results_of_the_cpu(3, 1, DeviceLink::kStaged);
}

TEST_F(DeviceCommunication, IsStagedWhereRanksShareAGpu) {
  run_ranks(2, [](Communicator& host) {
    use_cuda_device(0);
    const auto comm = make_device_communicator(host, c10::Device(c10::kCUDA, 0), 120);
    EXPECT_EQ(comm->backend(), "staged");
  });
}

}  // namespace
}  // namespace spq::dist
