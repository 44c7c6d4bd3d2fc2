// How Hadamard block kernels are laid out, and the signs of the matrices they need.
#pragma once

#include <cstdint>

#include "kernels/blocks/block.h"
#include "kernels/hadamard.h"

namespace spq::kernels::blocks {

/// Rows of a plan, some of them at a time in shared memory.
struct HadamardShape {
  static constexpr int kMaxThreads = 512;
  int64_t rows;
  int n;
  int factor;
  int log_m;  // block = factor 2^log_m
  int rows_per_tile;
  int threads;
  float norm;

  int64_t tiles() const { return ceil_div(rows, rows_per_tile); }
  /// Slots of shared memory for a tile: whole multiples of what slot() permutes.
  constexpr int tile_slots() const { return (rows_per_tile * n + 31) / 32 * 32; }
  constexpr int rows_at(int64_t first) const {
    return rows - first < rows_per_tile ? static_cast<int>(rows - first) : rows_per_tile;
  }
};

/// `item`: neighbouring values that a thread loads at once. Tiles of about 2048 values, or one row.
HadamardShape hadamard_shape(int64_t rows, const HadamardPlan& plan, int item);

/// Where value i of a tile lies in shared memory: permuted within 32 values so that the steps of a pass at
/// distance 8 fall on different banks. Keeps eight neighbours together.
SPQ_BLOCK int slot(int i) {
  return i ^ ((i >> 4) & 24);
}

/// Signs of a Hadamard matrix, four bits for rows 4a .. 4a+3 of each column, for a kernel's arguments: 3.7
/// KiB, so that they lie in the constant memory of the GPU.
struct FactorSigns {
  static constexpr int kLargest = 172;
  static constexpr int kWordsPerTile = (kLargest + 7) / 8;
  uint32_t words[kLargest / 4 * kWordsPerTile];
};

/// Error when the table has no matrix of this order (a multiple of 4 up to 172).
FactorSigns factor_signs(int order);

/// The matrix of order 28 (LLaMA 3: 14336 = 28 * 512, 28672 = 28 * 1024), here so that its signs are known
/// when the kernel is compiled. Row i, most significant of 28 bits first, 1 for +1; as in
/// hadamard_factors.cpp.
inline constexpr uint32_t kFactor28[28] = {0xfffdfff, 0xec36b0d, 0xf61b586, 0xbb0eac3, 0xdd87561, 0xeec3ab0,
                                           0xb762d58, 0x9bb26ac, 0x8dda356, 0x86ee1ab, 0xc3770d5, 0xe1bb86a,
                                           0xb0dec35, 0xd86f61a, 0x7ffc000, 0xac344f2, 0xd618279, 0xab0d13c,
                                           0xd58489e, 0xeac044f, 0xb561227, 0x9ab1913, 0x8d59c89, 0x86ade44,
                                           0xc354f22, 0xe1a8791, 0xb0d53c8, 0xd8689e4};

/// True for +1 at [i, j].
constexpr bool factor28_is_plus(int i, int j) {
  return ((kFactor28[i] >> (27 - j)) & 1u) != 0;
}

constexpr bool factor28_is_symmetric() {
  for (int i = 0; i < 28; ++i) {
    for (int j = 0; j < 28; ++j) {
      if (factor28_is_plus(i, j) != factor28_is_plus(j, i)) return false;
    }
  }
  return true;
}

}  // namespace spq::kernels::blocks
