// The contract on communicators of a device, NCCL played by the stand-in: what the other backends promise
// holds for tensors on a device, at every number of ranks.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <tuple>

#include "dist/device_communicator.h"
#include "dist/thread_communicator.h"
#include "tests/dist/contract.h"
#include "tests/dist/device_tools.h"
#include "tests/dist/fake_device.h"

namespace spq::dist::testing {
namespace {

class OnADevice : public ::testing::TestWithParam<std::tuple<DeviceLink, int, ContractCase>> {};

TEST_P(OnADevice, KeepsTheContract) {
  const auto& [link, world, contract_case] = GetParam();
  standin().reset();
  run_ranks(world, [&, link = link, body = contract_case.body](Communicator& host) {
    const auto device = std::make_shared<FakeDevice>();
    const auto comm = make_device_communicator(host, device, standin_options(), link);
    EXPECT_EQ(comm->backend(), link == DeviceLink::kNccl ? "nccl" : "staged");
    body(*comm);
  });
  EXPECT_THAT(standin().problems(), ::testing::IsEmpty());
  EXPECT_EQ(standin().num_open(), 0);
  EXPECT_EQ(standin().num_aborted(), 0);
  EXPECT_EQ(standin().num_destroyed(), link == DeviceLink::kNccl ? 2 * world : 0);
}

INSTANTIATE_TEST_SUITE_P(Dist, OnADevice,
                         ::testing::Combine(::testing::Values(DeviceLink::kNccl, DeviceLink::kStaged),
                                            ::testing::Values(1, 2, 3, 4),
                                            ::testing::ValuesIn(contract_cases().begin(),
                                                                contract_cases().end())),
                         [](const auto& test) {
                           const bool is_nccl = std::get<0>(test.param) == DeviceLink::kNccl;
                           return (is_nccl ? "Nccl" : "Staged") + std::to_string(std::get<1>(test.param)) +
                                  std::get<2>(test.param).name;
                         });

}  // namespace
}  // namespace spq::dist::testing
