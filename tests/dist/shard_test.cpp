#include "dist/shard.h"

#include <gtest/gtest.h>

#include <vector>

namespace spq::dist {
namespace {

TEST(RowPartition, CoversEveryRowOnce) {
  for (int world = 1; world <= 9; ++world) {
    for (int64_t num_rows = 0; num_rows <= 40; ++num_rows) {
      const RowPartition rows(num_rows, world);
      int64_t next = 0;
      for (int rank = 0; rank < world; ++rank) {
        EXPECT_EQ(rows.begin(rank), next) << num_rows << " rows, rank " << rank << " of " << world;
        EXPECT_GE(rows.count(rank), 0);
        next = rows.end(rank);
      }
      EXPECT_EQ(next, num_rows);
    }
  }
}

TEST(RowPartition, GivesTheFirstPartsTheRowsLeftOver) {
  const RowPartition rows(11, 4);
  std::vector<int64_t> counts;
  for (int rank = 0; rank < 4; ++rank) counts.push_back(rows.count(rank));
  EXPECT_EQ(counts, (std::vector<int64_t>{3, 3, 3, 2}));
}

TEST(RowPartition, LeavesLastPartsEmptyWhenThereAreFewRows) {
  const RowPartition rows(2, 4);
  EXPECT_EQ(rows.count(1), 1);
  EXPECT_EQ(rows.count(2), 0);
  EXPECT_EQ(rows.count(3), 0);
}

TEST(RowPartition, FindsTheOwnerOfEveryRow) {
  for (int world = 1; world <= 7; ++world) {
    for (int64_t num_rows = 0; num_rows <= 30; ++num_rows) {
      const RowPartition rows(num_rows, world);
      for (int64_t row = 0; row < num_rows; ++row) {
        const int owner = rows.owner(row);
        EXPECT_TRUE(rows.begin(owner) <= row && row < rows.end(owner)) << row << " of " << num_rows;
      }
    }
  }
}

TEST(RowPartition, HandlesMoreRowsThan32BitsHold) {
  const int64_t num_rows = (int64_t{1} << 40) + 5;
  const RowPartition rows(num_rows, 1000);
  EXPECT_EQ(rows.end(999), num_rows);
  EXPECT_EQ(rows.owner(num_rows - 1), 999);
}

TEST(RowPartition, RefusesRanksAndRowsThatDoNotExist) {
  const RowPartition rows(5, 2);
  EXPECT_DEATH(rows.begin(3), "internal error");
  EXPECT_DEATH(rows.owner(5), "internal error");
  EXPECT_DEATH(RowPartition(-1, 2), "internal error");
}

}  // namespace
}  // namespace spq::dist
