#include "trainer/half_product.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/mm.h>

#include <algorithm>

namespace spq::trainer {
namespace {

// Rows of a block, and of a tile that is transposed: 256 x 256 fp32 numbers fit a core's cache twice. Wider
// blocks multiply faster but overshoot the band more.
constexpr int64_t kPanel = 256;

struct Range {
  int64_t begin, count;
};

// from..to counted around 0..n, from in -n..n, as ranges within 0..n.
std::vector<Range> around(int64_t n, int64_t from, int64_t to) {
  if (to <= from) return {};
  if (to - from >= n) return {{0, n}};
  if (from < 0) {
    from += n;
    to += n;
  }
  if (to <= n) return {{from, to - from}};
  if (from >= n) return {{from - n, to - from}};
  return {{from, n - from}, {0, to - n}};
}

// begin..end in panels.
std::vector<Range> panels(int64_t begin, int64_t end) {
  std::vector<Range> result;
  for (int64_t at = begin; at < end; at += kPanel) result.push_back({at, std::min(kPanel, end - at)});
  return result;
}

at::Tensor block_of(const at::Tensor& x, const Range& rows, const Range& columns) {
  return x.narrow(0, rows.begin, rows.count).narrow(1, columns.begin, columns.count);
}

// Fills what band_blocks leaves out of these rows from the band of the others.
void mirror(const at::Tensor& x, const Range& rows, Symmetry symmetry) {
  const int64_t n = x.size(0);
  for (const Range& missing : around(n, rows.begin + rows.count, rows.begin - n / 2 + n)) {
    for (const Range& columns : panels(missing.begin, missing.begin + missing.count)) {
      at::Tensor tile = block_of(x, rows, columns);
      tile.copy_(block_of(x, columns, rows).t());
      if (symmetry == Symmetry::kSkew) tile.neg_();
    }
  }
}

}  // namespace

std::vector<Block> band_blocks(int64_t n, int64_t begin, int64_t end) {
  std::vector<Block> blocks;
  for (const Range& rows : panels(begin, end)) {
    for (const Range& columns : around(n, rows.begin - n / 2, rows.begin + rows.count)) {
      blocks.push_back({rows.begin, rows.count, columns.begin, columns.count});
    }
  }
  return blocks;
}

at::Tensor half_product(dist::Communicator& comm, const at::Tensor& a, const at::Tensor& b,
                        Symmetry symmetry) {
  const int64_t n = a.size(0);
  if (n <= kPanel) return at::mm(a, b);
  const dist::RowPartition rows(n, comm.world_size());
  const int64_t begin = rows.begin(comm.rank());
  const at::Tensor mine = at::empty({rows.count(comm.rank()), n}, a.options());
  for (const Block& block : band_blocks(n, begin, rows.end(comm.rank()))) {
    at::Tensor out = block_of(mine, {block.row - begin, block.rows}, {block.column, block.columns});
    at::mm_out(out, a.narrow(0, block.row, block.rows), b.narrow(1, block.column, block.columns));
  }
  const at::Tensor whole = at::empty_like(a);
  comm.all_gather_rows(mine, whole, rows)->wait();
  for (int rank = 0; rank < comm.world_size(); ++rank) {
    for (const Range& panel : panels(rows.begin(rank), rows.end(rank))) mirror(whole, panel, symmetry);
  }
  return whole;
}

}  // namespace spq::trainer
