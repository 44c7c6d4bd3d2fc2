// Which rows of a matrix a rank owns.
#pragma once

#include <cstdint>

namespace spq::dist {

/// Rows 0..num_rows split into world_size consecutive parts; the first (num_rows mod world_size) parts have
/// one row more. Parts may be empty. The parts cover every row exactly once.
class RowPartition {
 public:
  RowPartition(int64_t num_rows, int world_size);
  int64_t num_rows() const { return num_rows_; }
  int world_size() const { return world_size_; }
  int64_t begin(int rank) const;
  int64_t end(int rank) const { return begin(rank + 1); }
  int64_t count(int rank) const { return end(rank) - begin(rank); }
  /// The rank that owns `row`.
  int owner(int64_t row) const;

 private:
  int64_t num_rows_;
  int world_size_;
};

}  // namespace spq::dist
