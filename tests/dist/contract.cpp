#include "tests/dist/contract.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <array>
#include <ostream>
#include <vector>

#include "core/error.h"
#include "dist/collectives.h"
#include "tests/dist/contract_tools.h"

namespace spq::dist::testing {

namespace {

void expect_gather(Communicator& comm, int64_t num_rows, int64_t width, at::ScalarType dtype) {
  SCOPED_TRACE(fmt::format("{} rows of {} {} values", num_rows, width, c10::toString(dtype)));
  const RowPartition rows(num_rows, comm.world_size());
  const at::Tensor expected = numbered(num_rows, width, dtype);
  const at::Tensor whole = at::full({num_rows, width}, 77, at::TensorOptions(dtype));
  comm.all_gather_rows(own_rows(comm, expected, rows), whole, rows)->wait();
  EXPECT_TRUE(same_bytes(whole, expected));
}

void gathers_rows_of_any_dtype_in_rank_order(Communicator& comm) {
  for (const at::ScalarType dtype : {at::kBFloat16, at::kFloat, at::kLong}) {
    expect_gather(comm, 12, 5, dtype);  // even for 1 to 4 ranks
    expect_gather(comm, 7, 3, dtype);   // uneven
    expect_gather(comm, 2, 4, dtype);   // some ranks have nothing
  }
}

void gathers_nothing_when_there_is_nothing(Communicator& comm) {
  expect_gather(comm, 0, 4, at::kFloat);
  expect_gather(comm, 6, 0, at::kFloat);
}

void gathers_large_rows(Communicator& comm) {
  expect_gather(comm, 5, 1 << 20, at::kBFloat16);
}

void gathers_vectors(Communicator& comm) {
  const RowPartition rows(11, comm.world_size());
  const at::Tensor expected = at::arange(11, at::kLong);
  const at::Tensor whole = at::zeros({11}, at::kLong);
  comm.all_gather_rows(own_rows(comm, expected, rows), whole, rows)->wait();
  EXPECT_TRUE(same_bytes(whole, expected));
}

void gathers_a_shard_that_lies_in_the_whole(Communicator& comm) {
  const RowPartition rows(9, comm.world_size());
  const at::Tensor expected = numbered(9, 4, at::kFloat);
  const at::Tensor whole = at::zeros({9, 4}, at::kFloat);
  const at::Tensor part = whole.narrow(0, rows.begin(comm.rank()), rows.count(comm.rank()));
  part.copy_(own_rows(comm, expected, rows));
  comm.all_gather_rows(part, whole, rows)->wait();
  EXPECT_TRUE(same_bytes(whole, expected));
}

void keeps_several_gathers_apart(Communicator& comm) {
  constexpr int kNumGathers = 6;
  std::vector<at::Tensor> shards;
  std::vector<at::Tensor> wholes;
  std::vector<std::unique_ptr<Work>> works;
  for (int i = 0; i < kNumGathers; ++i) {
    const int64_t num_rows = 3 + 4 * i;
    const RowPartition rows(num_rows, comm.world_size());
    shards.push_back(own_rows(comm, numbered(num_rows, 6, at::kFloat, i), rows));
    wholes.push_back(at::zeros({num_rows, 6}, at::kFloat));
    works.push_back(comm.all_gather_rows(shards.back(), wholes.back(), rows));
  }
  comm.barrier();  // another collective while they are in flight
  for (int i = kNumGathers - 1; i >= 0; --i) {
    const auto index = static_cast<size_t>(i);
    works[index]->wait();
    works[index]->wait();  // a second time is allowed
    EXPECT_TRUE(same_bytes(wholes[index], numbered(3 + 4 * i, 6, at::kFloat, i))) << "gather " << i;
  }
}

/// What `source` sends to `target`: length and values say who and to whom.
at::Tensor message(int source, int target, int64_t length) {
  return at::full({length, 2}, 100 * source + target, at::TensorOptions(at::kInt));
}

void expect_exchange(Communicator& comm, int64_t (*length)(int source, int target)) {
  std::vector<at::Tensor> send;
  std::vector<at::Tensor> receive;
  for (int r = 0; r < comm.world_size(); ++r) {
    send.push_back(message(comm.rank(), r, length(comm.rank(), r)));
    receive.push_back(at::zeros({length(r, comm.rank()), 2}, at::TensorOptions(at::kInt)));
  }
  comm.all_to_all(send, receive);
  for (int r = 0; r < comm.world_size(); ++r) {
    const at::Tensor expected = message(r, comm.rank(), length(r, comm.rank()));
    EXPECT_TRUE(same_bytes(receive[static_cast<size_t>(r)], expected)) << "from rank " << r;
  }
}

void exchanges_parts_of_different_sizes(Communicator& comm) {
  expect_exchange(comm, [](int source, int target) -> int64_t { return 1 + 5 * source + 3 * target; });
}

void exchanges_parts_that_are_empty(Communicator& comm) {
  expect_exchange(comm, [](int source, int target) -> int64_t { return (source + target) % 2; });
  expect_exchange(comm, [](int source, int) -> int64_t { return source == 0 ? 3 : 0; });
  expect_exchange(comm, [](int, int) -> int64_t { return 0; });
}

void exchanges_large_parts(Communicator& comm) {
  expect_exchange(comm, [](int source, int target) -> int64_t { return 100000 + 1001 * source + target; });
}

void broadcasts_from_every_root(Communicator& comm) {
  for (int root = 0; root < comm.world_size(); ++root) {
    const at::Tensor expected = numbered(5, 1000, at::kDouble, root);
    at::Tensor tensor = numbered(5, 1000, at::kDouble, comm.rank());
    comm.broadcast(tensor, root);
    EXPECT_TRUE(same_bytes(tensor, expected)) << "root " << root;
  }
  at::Tensor empty = at::empty({0}, at::kFloat);
  comm.broadcast(empty, 0);
}

/// Values of one rank for sums, chosen so that the order of addition shows in the last bits.
at::Tensor summands(int rank, int64_t length, at::ScalarType dtype) {
  const at::Tensor places = at::arange(length, at::kDouble);
  const at::Tensor sizes = places.mul(0.31).add(rank).cos().mul(9.0).exp();
  return places.mul(0.7310585 * (rank + 1)).sin().mul(sizes).to(dtype);
}

void sums_in_rank_order_bit_for_bit(Communicator& comm) {
  for (const at::ScalarType dtype : {at::kFloat, at::kDouble}) {
    for (const int64_t length : {30000, 1000, 37, 2, 0}) {
      at::Tensor expected = summands(0, length, dtype);
      for (int r = 1; r < comm.world_size(); ++r) expected.add_(summands(r, length, dtype));
      at::Tensor tensor = summands(comm.rank(), length, dtype);
      all_reduce_sum(comm, tensor);
      EXPECT_TRUE(same_bytes(tensor, expected)) << length << " " << c10::toString(dtype);
    }
  }
}

void sums_matrices_in_place(Communicator& comm) {
  at::Tensor matrix = at::full({6, 7}, comm.rank() + 1, at::kFloat);
  const void* memory = matrix.const_data_ptr();
  all_reduce_sum(comm, matrix);
  const int world = comm.world_size();
  EXPECT_TRUE(same_bytes(matrix, at::full({6, 7}, world * (world + 1) / 2, at::kFloat)));
  EXPECT_EQ(matrix.const_data_ptr(), memory);
}

void gathers_texts_of_any_length(Communicator& comm) {
  const auto text_of = [](int rank) { return std::string(static_cast<size_t>(3 * rank), 'x') + "\n\0é"; };
  const std::vector<std::string> texts = gather_texts(comm, text_of(comm.rank()));
  ASSERT_EQ(static_cast<int>(texts.size()), comm.world_size());
  for (int r = 0; r < comm.world_size(); ++r) EXPECT_EQ(texts[static_cast<size_t>(r)], text_of(r));
  const bool last = comm.rank() == comm.world_size() - 1;
  EXPECT_EQ(gather_texts(comm, last ? "only one speaks" : "").back(), "only one speaks");
}

std::string agreed_problem(Communicator& comm, std::string_view problem) {
  try {
    agree_or_fail(comm, problem);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

void fails_with_the_same_text_on_every_rank(Communicator& comm) {
  EXPECT_EQ(agreed_problem(comm, ""), "");
  const int world = comm.world_size();
  const auto named = [&](int rank, const std::string& text) {
    return world == 1 ? text : fmt::format("rank {}: {}", rank, text);
  };
  const bool last = comm.rank() == world - 1;
  EXPECT_EQ(agreed_problem(comm, last ? "disk {full}" : ""), named(world - 1, "disk {full}"));
  EXPECT_EQ(agreed_problem(comm, fmt::format("trouble {}", comm.rank())), named(0, "trouble 0"));
  EXPECT_EQ(agreed_problem(comm, "the same everywhere"), "the same everywhere");
  comm.barrier();  // still usable
}

void works_the_same_with_a_timeout(Communicator& comm) {
  comm.set_timeout(30);
  comm.barrier();
  expect_gather(comm, 7, 3, at::kFloat);
  comm.set_timeout(0);
  comm.barrier();
}

void counts_the_ranks_of_this_host(Communicator& comm) {
  EXPECT_EQ(local_world_size(comm), comm.world_size());  // all test ranks are on one machine
  EXPECT_EQ(local_rank(comm), comm.rank());
}

constexpr std::array kCases = {
    ContractCase{"GathersRowsOfAnyDtypeInRankOrder", gathers_rows_of_any_dtype_in_rank_order},
    ContractCase{"GathersNothingWhenThereIsNothing", gathers_nothing_when_there_is_nothing},
    ContractCase{"GathersLargeRows", gathers_large_rows},
    ContractCase{"GathersVectors", gathers_vectors},
    ContractCase{"GathersAShardThatLiesInTheWhole", gathers_a_shard_that_lies_in_the_whole},
    ContractCase{"KeepsSeveralGathersApart", keeps_several_gathers_apart},
    ContractCase{"ExchangesPartsOfDifferentSizes", exchanges_parts_of_different_sizes},
    ContractCase{"ExchangesPartsThatAreEmpty", exchanges_parts_that_are_empty},
    ContractCase{"ExchangesLargeParts", exchanges_large_parts},
    ContractCase{"BroadcastsFromEveryRoot", broadcasts_from_every_root},
    ContractCase{"SumsInRankOrderBitForBit", sums_in_rank_order_bit_for_bit},
    ContractCase{"SumsMatricesInPlace", sums_matrices_in_place},
    ContractCase{"GathersTextsOfAnyLength", gathers_texts_of_any_length},
    ContractCase{"FailsWithTheSameTextOnEveryRank", fails_with_the_same_text_on_every_rank},
    ContractCase{"GathersUnitsOneAheadUpAndDown", gathers_units_one_ahead_up_and_down},
    ContractCase{"GathersUnitsBesideOtherCollectives", gathers_units_beside_other_collectives},
    ContractCase{"KeepsStoresApartAndWorksAfterTheirEnd", keeps_stores_apart_and_works_after_their_end},
    ContractCase{"CopiesNoGatheredUnitThatIsResident", copies_no_gathered_unit_that_is_resident},
    ContractCase{"WorksTheSameWithATimeout", works_the_same_with_a_timeout},
    ContractCase{"CountsTheRanksOfThisHost", counts_the_ranks_of_this_host},
};

}  // namespace

std::span<const ContractCase> contract_cases() {
  return kCases;
}

void PrintTo(const ContractCase& contract_case, std::ostream* stream) {
  *stream << contract_case.name;
}

}  // namespace spq::dist::testing
