// Products of n x n matrices of which half the entries say the other half.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "dist/communicator.h"

namespace spq::trainer {

struct Block {
  int64_t row, rows, column, columns;
};

/// The part of rows begin..end of an n x n matrix that lies in its band, in blocks: row i has the columns
/// i - n / 2 to i, counted around, so that of entries (i, j) and (j, i) at least one is in it. Blocks take up
/// to 255 columns more. Unlike a triangle's, the band's rows are equally long: equally many rows are equal
/// work. Each block has all diagonal entries of its rows, or none.
std::vector<Block> band_blocks(int64_t n, int64_t begin, int64_t end);

enum class Symmetry { kSymmetric, kSkew };

/// a b, [n, n], which the caller knows to be symmetric or skew. Each rank multiplies its rows' part of the
/// band, the ranks gather n^2 numbers, and the rest is their transpose. Small matrices are multiplied whole
/// on each rank, without a word to the others.
at::Tensor half_product(dist::Communicator& comm, const at::Tensor& a, const at::Tensor& b,
                        Symmetry symmetry);

}  // namespace spq::trainer
