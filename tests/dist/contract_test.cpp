// The contract on the backends that live in one process: single, and 2 to 4 threads.
#include <gtest/gtest.h>

#include <tuple>

#include "dist/single_communicator.h"
#include "dist/thread_communicator.h"
#include "tests/dist/contract.h"

namespace spq::dist::testing {
namespace {

class OneProcess : public ::testing::TestWithParam<std::tuple<int, ContractCase>> {};

TEST_P(OneProcess, KeepsTheContract) {
  const auto& [num_threads, contract_case] = GetParam();
  if (num_threads == 0) {
    SingleCommunicator comm;
    EXPECT_EQ(comm.backend(), "single");
    EXPECT_EQ(comm.world_size(), 1);
    contract_case.body(comm);
    return;
  }
  run_ranks(num_threads, [&, world = num_threads, body = contract_case.body](Communicator& comm) {
    EXPECT_EQ(comm.backend(), "threads");
    EXPECT_EQ(comm.world_size(), world);
    body(comm);
  });
}

std::string backend_name(int num_threads) {
  return num_threads == 0 ? "Single" : "Threads" + std::to_string(num_threads);
}

INSTANTIATE_TEST_SUITE_P(
    Dist, OneProcess,
    ::testing::Combine(::testing::Values(0, 1, 2, 3, 4),
                       ::testing::ValuesIn(contract_cases().begin(), contract_cases().end())),
    [](const auto& test) { return backend_name(std::get<0>(test.param)) + std::get<1>(test.param).name; });

}  // namespace
}  // namespace spq::dist::testing
