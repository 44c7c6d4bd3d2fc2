// What every ShardStore promises.
#include <ATen/ops/full.h>
#include <gtest/gtest.h>

#include <array>
#include <memory>
#include <utility>
#include <vector>

#include "dist/collectives.h"
#include "tests/dist/contract_tools.h"

namespace spq::dist::testing {

namespace {

/// Matrix `index` of unit `unit`: sizes and dtypes differ, one has fewer rows than ranks, one none.
at::Tensor unit_matrix(int64_t unit, size_t index) {
  constexpr std::array<int64_t, 4> kRows{9, 2, 0, 700};
  const at::ScalarType dtype = index == 1 ? at::kFloat : at::kBFloat16;
  return numbered(kRows[index] + unit, 3 + unit, dtype, 10 * unit + static_cast<int64_t>(index));
}

constexpr int64_t kNumUnits = 5;
constexpr size_t kMatricesPerUnit = 4;

std::unique_ptr<ShardStore> make_example_store(Communicator& comm) {
  std::vector<ShardUnit> units;
  for (int64_t u = 0; u < kNumUnits; ++u) {
    ShardUnit& unit = units.emplace_back();
    for (size_t i = 0; i < kMatricesPerUnit; ++i) {
      const at::Tensor whole = unit_matrix(u, i);
      const RowPartition rows(whole.size(0), comm.world_size());
      unit.push_back({own_rows(comm, whole, rows), rows});
    }
  }
  return comm.make_shards(std::move(units));
}

void expect_unit(const GatheredUnit& gathered, int64_t unit) {
  for (const auto& work : gathered.works) work->wait();
  ASSERT_EQ(gathered.matrices.size(), kMatricesPerUnit);
  for (size_t i = 0; i < kMatricesPerUnit; ++i) {
    EXPECT_TRUE(same_bytes(gathered.matrices[i], unit_matrix(unit, i))) << "matrix " << i << " of " << unit;
  }
}

}  // namespace

void gathers_units_one_ahead_up_and_down(Communicator& comm) {
  const auto store = make_example_store(comm);
  std::vector<int64_t> walk;
  for (int64_t u = 0; u < kNumUnits; ++u) walk.push_back(u);
  for (int64_t u = kNumUnits - 2; u >= 0; --u) walk.push_back(u);
  GatheredUnit current = store->gather(0);
  for (size_t n = 0; n < walk.size(); ++n) {
    GatheredUnit next;
    if (n + 1 < walk.size()) next = store->gather(static_cast<size_t>(walk[n + 1]));
    expect_unit(current, walk[n]);
    store->drop(static_cast<size_t>(walk[n]));
    current = std::move(next);
  }
}

void gathers_units_beside_other_collectives(Communicator& comm) {
  const auto store = make_example_store(comm);
  const GatheredUnit first = store->gather(2);
  at::Tensor sum = at::full({3}, 1.0F, at::kFloat);
  all_reduce_sum(comm, sum);
  const GatheredUnit second = store->gather(1);
  comm.barrier();
  expect_unit(second, 1);
  expect_unit(first, 2);  // still there
  store->drop(2);
  store->drop(1);
  EXPECT_EQ(sum[2].item<float>(), static_cast<float>(comm.world_size()));
}

void keeps_stores_apart_and_works_after_their_end(Communicator& comm) {
  for (int i = 0; i < 2; ++i) {
    const auto one = make_example_store(comm);
    const auto other = make_example_store(comm);
    const GatheredUnit first = one->gather(0);
    const GatheredUnit second = other->gather(4);
    expect_unit(first, 0);
    expect_unit(second, 4);
    one->drop(0);
    other->drop(4);
  }
  comm.barrier();
}

void copies_no_gathered_unit_that_is_resident(Communicator& comm) {
  const auto store = make_example_store(comm);
  if (!store->is_resident()) return;
  const GatheredUnit first = store->gather(3);
  EXPECT_TRUE(first.works.empty());
  store->drop(3);
  EXPECT_EQ(store->gather(3).matrices[3].const_data_ptr(), first.matrices[3].const_data_ptr());
}

}  // namespace spq::dist::testing
