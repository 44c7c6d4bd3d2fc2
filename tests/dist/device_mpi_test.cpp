// Devices of MPI ranks, and device tensors staged through MPI. Every rank runs every test
// (tests/mpi_main.cpp).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "core/error.h"
#include "dist/cuda_runtime.h"
#include "dist/device.h"
#include "dist/device_communicator.h"
#include "dist/mpi_communicator.h"
#include "tests/dist/contract.h"
#include "tests/dist/fake_device.h"

namespace spq::dist::testing {
namespace {

class StagedOverMpi : public ::testing::TestWithParam<ContractCase> {};

TEST_P(StagedOverMpi, KeepsTheContract) {
  MpiSession session;
  const auto host = make_mpi_communicator(session);
  const auto comm = make_device_communicator(*host, std::make_shared<FakeDevice>(), {}, DeviceLink::kStaged);
  GetParam().body(*comm);
}

// No shared memory on the host: units are gathered there before they are copied to the device.
TEST_P(StagedOverMpi, KeepsTheContractOnNodesOfOneRank) {
  MpiSession session;
  const auto host = make_mpi_communicator(session, {.ranks_per_node = 1});
  const auto comm = make_device_communicator(*host, std::make_shared<FakeDevice>(), {}, DeviceLink::kStaged);
  GetParam().body(*comm);
}

TEST_P(StagedOverMpi, KeepsTheContractOnNodesOfTwoRanks) {
  MpiSession session;
  const auto host = make_mpi_communicator(session, {.ranks_per_node = 2});
  const auto comm = make_device_communicator(*host, std::make_shared<FakeDevice>(), {}, DeviceLink::kStaged);
  GetParam().body(*comm);
}

INSTANTIATE_TEST_SUITE_P(Dist, StagedOverMpi,
                         ::testing::ValuesIn(contract_cases().begin(), contract_cases().end()),
                         [](const auto& test) { return std::string(test.param.name); });

TEST(OpenDevice, IsTheCpuWhereThatIsAskedFor) {
  MpiSession session;
  const auto host = make_mpi_communicator(session);
  const RankDevice opened = open_device(*host, ComputeDevice::kCpu);
  EXPECT_TRUE(opened.device.is_cpu());
  EXPECT_EQ(opened.note, "");
}

TEST(OpenDevice, SaysWhyThereIsNoGpu) {
  const CudaDevices devices = find_cuda_devices();
  if (devices.count > 0) GTEST_SKIP() << "there are GPUs here";
  EXPECT_THAT(devices.problem,
              ::testing::AnyOf("this program was built without CUDA", "there is no CUDA device",
                               ::testing::HasSubstr("no CUDA device can be used: ")));
  MpiSession session;
  const auto host = make_mpi_communicator(session);
  const RankDevice opened = open_device(*host, ComputeDevice::kAuto);
  EXPECT_TRUE(opened.device.is_cpu());
  EXPECT_EQ(opened.note, devices.problem);
  EXPECT_THAT([&] { open_device(*host, ComputeDevice::kCuda); },
              ::testing::ThrowsMessage<AgreedError>("compute.device is cuda: " + devices.problem));
  host->barrier();  // still usable
}

}  // namespace
}  // namespace spq::dist::testing
