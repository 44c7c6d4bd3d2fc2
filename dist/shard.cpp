#include "dist/shard.h"

#include <algorithm>

#include "core/error.h"

namespace spq::dist {

RowPartition::RowPartition(int64_t num_rows, int world_size) : num_rows_(num_rows), world_size_(world_size) {
  SPQ_ASSERT(num_rows >= 0);
  SPQ_ASSERT(world_size >= 1);
}

int64_t RowPartition::begin(int rank) const {
  SPQ_ASSERT(rank >= 0 && rank <= world_size_);  // begin(world_size) is the end of the last part
  return rank * (num_rows_ / world_size_) + std::min<int64_t>(rank, num_rows_ % world_size_);
}

int RowPartition::owner(int64_t row) const {
  SPQ_ASSERT(row >= 0 && row < num_rows_);
  const int64_t small = num_rows_ / world_size_;
  const int64_t num_large = num_rows_ % world_size_;
  const int64_t large_rows = num_large * (small + 1);
  if (row < large_rows) return static_cast<int>(row / (small + 1));
  return static_cast<int>(num_large + (row - large_rows) / small);
}

}  // namespace spq::dist
