#include "trainer/half_product.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include "dist/thread_communicator.h"
#include "model/rotation_start.h"
#include "tests/support/golden.h"

namespace spq::trainer {
namespace {

// Below, at and above the size from which ranks share the work; odd, and not divisible by the ranks.
constexpr int64_t kSizes[] = {1, 5, 256, 257, 515, 768};

at::Tensor some_skew(int64_t n) {
  const at::Tensor x = model::random_orthogonal(n, 3, 0).to(at::kDouble);
  return x.sub(x.t());
}

TEST(BandBlocks, HoldEachPairAndTheDiagonal) {
  for (const int64_t n : kSizes) {
    for (int ranks : {1, 2, 3, 4, 7}) {
      const dist::RowPartition rows(n, ranks);
      const at::Tensor seen = at::zeros({n, n});
      for (int rank = 0; rank < ranks; ++rank) {
        for (const Block& b : band_blocks(n, rows.begin(rank), rows.end(rank))) {
          EXPECT_TRUE(b.row >= rows.begin(rank) && b.row + b.rows <= rows.end(rank));
          seen.narrow(0, b.row, b.rows).narrow(1, b.column, b.columns).add_(1);
        }
      }
      EXPECT_LE(seen.max().item<double>(), 1) << "computed twice";
      EXPECT_GE(seen.add(seen.t()).min().item<double>(), 1) << n << " on " << ranks;
      EXPECT_EQ(seen.diagonal().min().item<double>(), 1);
    }
  }
}

TEST(BandBlocks, GiveRanksWithEquallyManyRowsEqualWorkOfAboutHalf) {
  const int64_t n = 4096;
  for (int ranks : {1, 2, 4, 8}) {
    const dist::RowPartition rows(n, ranks);
    for (int rank = 0; rank < ranks; ++rank) {
      int64_t area = 0;
      for (const Block& b : band_blocks(n, rows.begin(rank), rows.end(rank))) area += b.rows * b.columns;
      EXPECT_EQ(area, n / ranks * (n / 2 + 256));
    }
  }
}

TEST(HalfProduct, IsTheProductWithTheSameBitsOnEveryRank) {
  for (const int64_t n : kSizes) {
    const at::Tensor a = some_skew(n);
    const at::Tensor square = a.mm(a);
    for (int ranks : {1, 2, 3, 4}) {
      std::vector<at::Tensor> squares(static_cast<size_t>(ranks)), cubes(squares);
      dist::run_ranks(ranks, [&](dist::Communicator& comm) {
        const auto rank = static_cast<size_t>(comm.rank());
        squares[rank] = half_product(comm, a, a, Symmetry::kSymmetric);
        cubes[rank] = half_product(comm, a, squares[rank], Symmetry::kSkew);
      });
      EXPECT_LE(test::max_error(squares[0], square), 1e-13) << n << " on " << ranks;
      EXPECT_LE(test::max_error(cubes[0], square.mm(a)), 1e-13) << n << " on " << ranks;
      for (size_t r = 1; r < squares.size(); ++r) {
        EXPECT_TRUE(squares[r].equal(squares[0]) && cubes[r].equal(cubes[0])) << "ranks differ in bits";
      }
    }
  }
}

}  // namespace
}  // namespace spq::trainer
