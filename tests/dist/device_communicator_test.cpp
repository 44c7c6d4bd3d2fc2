#include <ATen/ops/arange.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "dist/collectives.h"
#include "dist/device_communicator.h"
#include "dist/nccl_transport.h"
#include "dist/thread_communicator.h"
#include "tests/dist/contract_tools.h"
#include "tests/dist/device_tools.h"
#include "tests/dist/fake_device.h"

namespace spq::dist::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

using Body = std::function<void(Communicator& comm, FakeDevice& device)>;

/// Runs `body` on ranks with a fake device each, over NCCL's stand-in.
void run_nccl(int world, const FakeDeviceOptions& device_options, const Body& body) {
  standin().reset();
  run_ranks(world, [&](Communicator& host) {
    const auto device = std::make_shared<FakeDevice>(device_options);
    const auto comm = make_device_communicator(host, device, standin_options(), DeviceLink::kNccl);
    body(*comm, *device);
  });
  EXPECT_THAT(standin().problems(), IsEmpty());
}

void gather(Communicator& comm, int64_t num_rows, at::ScalarType dtype) {
  const RowPartition rows(num_rows, comm.world_size());
  const at::Tensor expected = numbered(num_rows, 3, dtype);
  const at::Tensor whole = at::zeros({num_rows, 3}, at::TensorOptions(dtype));
  comm.all_gather_rows(own_rows(comm, expected, rows), whole, rows)->wait();
  EXPECT_TRUE(same_bytes(whole, expected));
}

TEST(NcclCommunicator, GathersEqualPartsInOneCall) {
  run_nccl(3, {}, [](Communicator& comm, FakeDevice&) {
    for (const at::ScalarType dtype : {at::kBFloat16, at::kFloat, at::kLong}) gather(comm, 6, dtype);
  });
  EXPECT_THAT(standin().groups(1), ElementsAre("[all_gather 12]", "[all_gather 24]", "[all_gather 48]"));
}

TEST(NcclCommunicator, GathersUnequalPartsStraightIntoPlaceByABroadcastOfEachRankThatHasRows) {
  run_nccl(3, {}, [](Communicator& comm, FakeDevice&) {
    gather(comm, 4, at::kFloat);
    gather(comm, 2, at::kLong);
  });
  for (int rank = 0; rank < 3; ++rank) {
    EXPECT_THAT(standin().groups(rank),
                ElementsAre("[broadcast 24 from 0; broadcast 12 from 1; broadcast 12 from 2]",
                            "[broadcast 24 from 0; broadcast 24 from 1]"));
  }
}

TEST(NcclCommunicator, GathersAUnitAsOneGroup) {
  run_nccl(2, {}, [](Communicator& comm, FakeDevice&) {
    const RowPartition even(4, 2);
    const RowPartition uneven(3, 2);
    const at::Tensor a = numbered(4, 2, at::kFloat);
    const at::Tensor b = numbered(3, 2, at::kBFloat16);
    const auto store =
        comm.make_shards({{{own_rows(comm, a, even), even}, {own_rows(comm, b, uneven), uneven}}});
    const GatheredUnit unit = store->gather(0);
    ASSERT_EQ(unit.works.size(), 1u);
    unit.works[0]->wait();
    EXPECT_TRUE(same_bytes(unit.matrices[0], a));
    EXPECT_TRUE(same_bytes(unit.matrices[1], b));
    store->drop(0);
  });
  EXPECT_THAT(standin().groups(0), ElementsAre("[all_gather 16; broadcast 8 from 0; broadcast 4 from 1]"));
}

TEST(NcclCommunicator, ExchangesNothingWithRanksThatItHasNothingFor) {
  run_nccl(2, {}, [](Communicator& comm, FakeDevice&) {
    const bool first = comm.rank() == 0;
    const std::vector<at::Tensor> send{at::full({0}, 1.0F), at::full({first ? 2 : 0}, 1.0F)};
    std::vector<at::Tensor> receive{at::zeros({first ? 0 : 2}), at::zeros({0})};
    comm.all_to_all(send, receive);
    EXPECT_EQ(receive[0].sum().item<float>(), first ? 0.0F : 2.0F);
  });
  EXPECT_THAT(standin().groups(0), ElementsAre("[send 8 to 1]"));
  EXPECT_THAT(standin().groups(1), ElementsAre("[receive 8 from 0]"));
}

TEST(NcclCommunicator, KeepsTensorsInHostMemoryOffTheDevice) {
  FakeDeviceOptions options;
  options.owns = [](const at::Tensor& tensor) { return tensor.scalar_type() == at::kFloat; };
  run_nccl(2, options, [](Communicator& comm, FakeDevice&) {
    EXPECT_THAT(gather_texts(comm, comm.rank() == 0 ? "a" : "b"), ElementsAre("a", "b"));
    gather(comm, 5, at::kLong);
    at::Tensor sum = at::full({3}, 2.0, at::kDouble);
    all_reduce_sum(comm, sum);
    comm.broadcast(sum, 1);
    EXPECT_EQ(sum[0].item<double>(), 4.0);
    EXPECT_THAT(standin().groups(comm.rank()), IsEmpty());
    gather(comm, 4, at::kFloat);
  });
  EXPECT_THAT(standin().groups(0), ElementsAre("[all_gather 24]"));
}

/// What the reductions and look-ups of a step do beside a gather, on device memory and in host memory.
std::vector<at::Tensor> results_of(Communicator& comm) {
  std::vector<at::Tensor> results;
  const RowPartition rows(1001, comm.world_size());
  const at::Tensor all = at::zeros({1001, 4});
  const at::Tensor mine = at::arange(rows.count(comm.rank()) * 4, at::kFloat).reshape({-1, 4}).sin();
  const auto work = comm.all_gather_rows(mine, all, rows);
  for (const int64_t length : {20011, 5}) {
    at::Tensor sum = at::arange(length, at::kFloat).mul(0.1 + comm.rank()).cos();
    all_reduce_sum(comm, sum);
    results.push_back(sum);
  }
  at::Tensor sent = at::full({7}, comm.rank(), at::kInt);
  comm.broadcast(sent, comm.world_size() - 1);
  work->wait();
  results.push_back(sent);
  results.push_back(all);
  return results;
}

TEST(DeviceCommunicator, GivesTheBitsOfTheOtherBackends) {
  for (const int world : {2, 3, 4}) {
    standin().reset();
    run_ranks(world, [](Communicator& host) {
      const std::vector<at::Tensor> expected = results_of(host);
      for (const DeviceLink link : {DeviceLink::kNccl, DeviceLink::kStaged}) {
        const auto comm =
            make_device_communicator(host, std::make_shared<FakeDevice>(), standin_options(), link);
        const std::vector<at::Tensor> results = results_of(*comm);
        for (size_t i = 0; i < expected.size(); ++i) EXPECT_TRUE(same_bytes(results[i], expected[i])) << i;
      }
    });
  }
}

TEST(DeviceCommunicator, StagesWhereTwoRanksShareADevice) {
  const auto backend_of = [](int world, const std::function<std::string(int)>& identity) {
    standin().reset();
    std::string backend;
    run_ranks(world, [&](Communicator& host) {
      FakeDeviceOptions options;
      options.identity = identity(host.rank());
      const auto comm = make_device_communicator(host, std::make_shared<FakeDevice>(options),
                                                 standin_options(), DeviceLink::kAuto);
      if (host.rank() == 0) backend = comm->backend();
    });
    return backend;
  };
  EXPECT_EQ(backend_of(3, [](int rank) { return std::to_string(rank); }), "nccl");
  EXPECT_EQ(backend_of(3, [](int rank) { return std::to_string(rank % 2); }), "staged");
  EXPECT_EQ(backend_of(1, [](int) { return "alone"; }), "staged") << "no NCCL without another rank";
}

TEST(NcclApi, NamesALibraryThatIsMissingOrLacksAFunction) {
  EXPECT_THAT([] { NcclApi::load("libspq_no_such.so"); },
              ::testing::ThrowsMessage<Error>(HasSubstr("cannot load libspq_no_such.so")));
  EXPECT_THAT([] { NcclApi::load("libm.so.6"); },
              ::testing::ThrowsMessage<Error>(HasSubstr("libm.so.6 has no function ncclGetVersion")));
}

TEST(NcclApi, FindsEveryFunctionInTheRealLibrary) {
  std::shared_ptr<const NcclApi> api;
  try {
    api = NcclApi::load(NcclOptions().library);
  } catch (const Error& error) {
    if (std::string(error.what()).find("cannot load") == std::string::npos) throw;
    GTEST_SKIP() << error.what();
  }
  EXPECT_GE(api->version(), 21400);
  EXPECT_THAT(api->describe(NcclResult::kInvalidUsage, nullptr), HasSubstr("invalid usage"));
}

TEST(NcclCommunicator, EndsOnEveryRankAlikeWhereTheLibraryIsMissing) {
  std::atomic<int> num_agreed = 0;
  run_ranks(3, [&](Communicator& host) {
    try {
      make_device_communicator(host, std::make_shared<FakeDevice>(), {.library = "libspq_no_such.so"},
                               DeviceLink::kNccl);
    } catch (const AgreedError& error) {
      EXPECT_THAT(error.what(), HasSubstr("cannot load libspq_no_such.so"));
      ++num_agreed;
    }
    host.barrier();
  });
  EXPECT_EQ(num_agreed, 3);
}

TEST(NcclCommunicator, RefusesDifferentVersions) {
  run_ranks(3, [](Communicator& host) {
    check_nccl_versions(host, 22809);
    EXPECT_THAT([&] { check_nccl_versions(host, host.rank() == 2 ? 22105 : 22809); },
                ::testing::ThrowsMessage<AgreedError>(
                    "different NCCL versions: rank 0 has 2.28.9, rank 2 has 2.21.5"));
  });
}

}  // namespace
}  // namespace spq::dist::testing
