// Products with the Hadamard matrices of hadamard_factors.h, for tiles of columns.
#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

#include "kernels/aligned.h"
#include "kernels/hadamard.h"

namespace spq::kernels {

/// A tile of some columns of one row. GCC and Clang split it where the machine's vectors are shorter.
template <class A>
struct TileOf {
  typedef A type __attribute__((vector_size(64)));
  static constexpr int64_t kLength = 64 / sizeof(A);
};

/// sums[digit] = +-in[0] +-in[m] +-in[2m] +-in[3m] at `width` columns, signs as the bits of digit.
template <class A, class Width>
void signed_sums(const A* in, int64_t m, A* sums, Width width) {
  using Tile = typename TileOf<A>::type;
  Tile x[4] = {};
#pragma GCC unroll 4
  for (int k = 0; k < 4; ++k) std::memcpy(&x[k], in + k * m, static_cast<size_t>(width) * sizeof(A));
  const Tile p = x[0] + x[1];
  const Tile q = x[0] - x[1];
  const Tile r = x[2] + x[3];
  const Tile s = x[2] - x[3];
  const Tile left[4] = {-p, -q, q, p};  // by the upper two bits
  const Tile right[4] = {-r, -s, s, r};
#pragma GCC unroll 16
  for (int digit = 0; digit < 16; ++digit) {
    const Tile sum = left[digit / 4] + right[digit % 4];
    std::memcpy(sums + digit * TileOf<A>::kLength, &sum, sizeof(sum));
  }
}

/// H or its transpose for one order, a multiple of 4. Every row of H is a choice among the 16 signed sums of
/// each four values: a third of the additions of the plain product. Holds scratch memory: one per thread.
template <class A>
class FactorMix {
 public:
  /// An order of 1 has no matrix: mix must not be called. Error when the table has no matrix of this order.
  explicit FactorMix(int64_t order);

  /// out[i, :] = sum_j H[i, j] in[j, :] for `width` columns, a tile at most, of rows in_stride and out_stride
  /// values apart. in may be out.
  template <class Width>
  void mix(const A* in, int64_t in_stride, A* out, int64_t out_stride, HadamardDirection direction,
           Width width);

 private:
  int64_t order_;
  // For each row and each four columns of the factor: which signed sum of four rows, of H and of its
  // transpose.
  std::vector<uint16_t> places_, transposed_places_;
  Scratch<A> sums_;  // all 16 signed sums of four rows, for some columns
};

template <class A>
template <class Width>
void FactorMix<A>::mix(const A* in, int64_t in_stride, A* out, int64_t out_stride,
                       HadamardDirection direction, Width width) {
  using Tile = typename TileOf<A>::type;
  const uint16_t* places =
      direction == HadamardDirection::kForward ? places_.data() : transposed_places_.data();
  A* sums = sums_.data();
  const int64_t groups = order_ / 4;
  for (int64_t g = 0; g < groups; ++g) {
    signed_sums(in + 4 * g * in_stride, in_stride, sums + g * 16 * TileOf<A>::kLength, width);
  }
  const auto add = [sums](Tile& total, uint16_t place) {
    Tile sum;
    std::memcpy(&sum, sums + place, sizeof(sum));
    total += sum;
  };
  for (int64_t i = 0; i < order_; ++i, places += groups) {
    Tile total[4] = {};  // four chains of additions instead of one long one
    int64_t g = 0;
    for (; g + 4 <= groups; g += 4) {
#pragma GCC unroll 4
      for (int k = 0; k < 4; ++k) add(total[k], places[g + k]);
    }
    for (; g < groups; ++g) add(total[0], places[g]);
    const Tile sum = (total[0] + total[1]) + (total[2] + total[3]);
    std::memcpy(out + i * out_stride, &sum, static_cast<size_t>(width) * sizeof(A));
  }
}

}  // namespace spq::kernels
