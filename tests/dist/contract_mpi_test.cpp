// The contract over MPI, and what is special to it. Every rank runs every test (tests/mpi_main.cpp).
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>
#include <mpi.h>

#include <limits>
#include <string>
#include <thread>
#include <vector>

#include "core/error.h"
#include "dist/collectives.h"
#include "dist/mpi_communicator.h"
#include "dist/mpi_window.h"
#include "tests/dist/contract.h"

namespace spq::dist::testing {
namespace {

class Mpi : public ::testing::TestWithParam<ContractCase> {};

TEST_P(Mpi, KeepsTheContract) {
  MpiSession session;
  const auto comm = make_mpi_communicator(session);
  EXPECT_EQ(comm->backend(), "mpi");
  GetParam().body(*comm);
}

TEST_P(Mpi, KeepsTheContractWithMessagesInPieces) {
  MpiSession session;
  const auto comm =
      make_mpi_communicator(session, {.max_message_bytes = 1001});  // no divisor of any size in the cases
  GetParam().body(*comm);
}

TEST_P(Mpi, KeepsTheContractOnNodesOfTwoRanks) {  // 3 ranks: nodes of 2 and 1
  MpiSession session;
  const auto comm = make_mpi_communicator(session, {.ranks_per_node = 2});
  GetParam().body(*comm);
}

TEST_P(Mpi, KeepsTheContractOnNodesOfOneRank) {
  MpiSession session;
  const auto comm = make_mpi_communicator(session, {.ranks_per_node = 1});
  GetParam().body(*comm);
}

TEST_P(Mpi, KeepsTheContractWithoutRoomToShare) {
  MpiSession session;
  const auto comm = make_mpi_communicator(session, {.max_shared_bytes = 100});
  GetParam().body(*comm);
}

INSTANTIATE_TEST_SUITE_P(Dist, Mpi, ::testing::ValuesIn(contract_cases().begin(), contract_cases().end()),
                         [](const auto& test) { return std::string(test.param.name); });

TEST(MpiCommunicator, NumbersRanksAsMpiDoes) {
  MpiSession session;
  const auto comm = make_mpi_communicator(session);
  int rank = -1;
  int world_size = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &world_size);
  EXPECT_EQ(comm->rank(), rank);
  EXPECT_EQ(comm->world_size(), world_size);
}

// Rank 0 lets the others start only after its own start has returned: a start that blocks would never end.
TEST(MpiCommunicator, StartsAGatherWithoutWaitingForOtherRanks) {
  MpiSession session;
  const auto comm = make_mpi_communicator(session);
  const RowPartition rows(8, comm->world_size());
  const at::Tensor shard = at::full({rows.count(comm->rank()), 1 << 18}, comm->rank() + 1, at::kFloat);
  const at::Tensor whole = at::zeros({8, 1 << 18}, at::kFloat);
  std::unique_ptr<Work> work;
  if (comm->rank() == 0) {
    work = comm->all_gather_rows(shard, whole, rows);
    for (int r = 1; r < comm->world_size(); ++r) MPI_Send(nullptr, 0, MPI_BYTE, r, 0, MPI_COMM_WORLD);
  } else {
    MPI_Recv(nullptr, 0, MPI_BYTE, 0, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    work = comm->all_gather_rows(shard, whole, rows);
  }
  work->wait();
  for (int64_t row = 0; row < 8; ++row) {
    EXPECT_EQ(whole[row][0].item<float>(), static_cast<float>(rows.owner(row) + 1));
  }
}

// MPI_COMM_WORLD's messages and the communicator's must not meet, whatever their tags.
TEST(MpiCommunicator, DoesNotMixWithMessagesOfOthers) {
  MpiSession session;
  const auto comm = make_mpi_communicator(session);
  const int next = (comm->rank() + 1) % comm->world_size();
  int received = -1;
  const int mine = 1000 + comm->rank();
  MPI_Request requests[2];
  MPI_Irecv(&received, 1, MPI_INT, MPI_ANY_SOURCE, MPI_ANY_TAG, MPI_COMM_WORLD, &requests[0]);
  std::vector<at::Tensor> send(static_cast<size_t>(comm->world_size()), at::full({1}, 7, at::kInt));
  std::vector<at::Tensor> receive;
  for (int r = 0; r < comm->world_size(); ++r) receive.push_back(at::zeros({1}, at::kInt));
  comm->all_to_all(send, receive);
  MPI_Isend(&mine, 1, MPI_INT, next, 5, MPI_COMM_WORLD, &requests[1]);
  MPI_Waitall(2, requests, MPI_STATUSES_IGNORE);
  EXPECT_EQ(received, 1000 + (comm->rank() + comm->world_size() - 1) % comm->world_size());
  for (const at::Tensor& tensor : receive) EXPECT_EQ(tensor.item<int>(), 7);
}

TEST(MpiCommunicator, ReportsAMessageThatIsShorterThanExpected) {
  MpiSession session;
  const auto comm = make_mpi_communicator(session);
  if (comm->world_size() == 1) GTEST_SKIP() << "one rank sends no message";
  std::vector<at::Tensor> send;
  std::vector<at::Tensor> receive;
  for (int r = 0; r < comm->world_size(); ++r) {
    const bool other = r != comm->rank();
    send.push_back(at::zeros({4}, at::kFloat));
    receive.push_back(at::zeros({other ? 6 : 4}, at::kFloat));
  }
  try {
    comm->all_to_all(send, receive);
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("16 bytes from rank"), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("24 expected"), std::string::npos) << error.what();
  }
  EXPECT_THROW(comm->barrier(), Error) << "the communicator is dead after a failure";
}

/// The ranks that see what rank 0 writes into its gathered unit.
std::vector<bool> ranks_that_see_the_memory_of_rank_0(Communicator& comm) {
  const RowPartition rows(8, comm.world_size());
  std::vector<ShardUnit> units;
  units.push_back({{at::zeros({rows.count(comm.rank()), 5}, at::kFloat), rows}});
  const auto store = comm.make_shards(std::move(units));
  const GatheredUnit gathered = store->gather(0);
  for (const auto& work : gathered.works) work->wait();
  comm.barrier();
  if (comm.rank() == 0) gathered.matrices[0].fill_(7);
  comm.barrier();
  const bool sees = gathered.matrices[0][7][4].item<float>() == 7;
  std::vector<bool> found;
  for (const std::string& text : gather_texts(comm, sees ? "yes" : "no")) found.push_back(text == "yes");
  store->drop(0);
  return found;
}

TEST(MpiShards, LieOnceInMemoryOnOneNode) {
  MpiSession session;
  const auto comm = make_mpi_communicator(session);
  const std::vector<bool> everybody(static_cast<size_t>(comm->world_size()), true);
  EXPECT_EQ(ranks_that_see_the_memory_of_rank_0(*comm), everybody);
}

TEST(MpiShards, AreGatheredOncePerNode) {
  MpiSession session;
  const auto comm = make_mpi_communicator(session, {.ranks_per_node = 2});
  if (comm->world_size() != 4) GTEST_SKIP() << "for two nodes of two ranks";
  EXPECT_EQ(ranks_that_see_the_memory_of_rank_0(*comm), (std::vector<bool>{true, true, false, false}));
}

TEST(MpiShards, StayPrivateOnNodesOfDifferentSizes) {
  MpiSession session;
  const auto comm = make_mpi_communicator(session, {.ranks_per_node = 2});
  if (comm->world_size() != 3) GTEST_SKIP() << "for nodes of two ranks and one";
  ::testing::internal::CaptureStderr();
  EXPECT_EQ(ranks_that_see_the_memory_of_rank_0(*comm), (std::vector<bool>{true, false, false}));
  const std::string said = ::testing::internal::GetCapturedStderr();
  const bool named = said.find("different numbers of ranks (2, 1)") != std::string::npos;
  EXPECT_EQ(named, comm->rank() == 0) << said;
}

TEST(MpiShards, StayPrivateWithoutRoomAndRankZeroSaysWhatIsMissing) {
  MpiSession session;
  const auto comm = make_mpi_communicator(session, {.max_shared_bytes = 1024});
  if (comm->world_size() == 1) GTEST_SKIP() << "one rank shares nothing";
  ::testing::internal::CaptureStderr();
  std::vector<bool> only_rank_0(static_cast<size_t>(comm->world_size()), false);
  only_rank_0[0] = true;
  EXPECT_EQ(ranks_that_see_the_memory_of_rank_0(*comm), only_rank_0);
  const std::string said = ::testing::internal::GetCapturedStderr();
  const bool named =
      said.find("4.0 KiB of shared memory needed, at most 1.0 KiB allowed") != std::string::npos;
  EXPECT_EQ(named, comm->rank() == 0) << said;
}

TEST(MpiWindow, NamesTheFolderWhatIsNeededAndWhatIsFree) {
  MpiSession session;
  const int64_t most = std::numeric_limits<int64_t>::max();
  EXPECT_EQ(MpiWindow::problem(4096, most), "");
  const std::string problem = MpiWindow::problem(int64_t{1} << 60, most);
  EXPECT_TRUE(problem.starts_with("/")) << problem;
  EXPECT_NE(problem.find("of shared memory needed"), std::string::npos) << problem;
  EXPECT_NE(problem.find(" free"), std::string::npos) << problem;
}

}  // namespace
}  // namespace spq::dist::testing
