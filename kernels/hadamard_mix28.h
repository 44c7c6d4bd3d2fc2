// The product with the Hadamard matrix of order 28 (LLaMA 3: 14336 = 28 * 512, 28672 = 28 * 1024), whose
// signs are known when the program is compiled.
//
// It is Paley's second construction: [P, P - 2I; P - 2I, -P] with P symmetric of order 14. With the halves a
// and b of a column the product is (P (a + b) - 2 b, P (a - b) - 2 a): two products with P, whose rows share
// the signed sums of each three or four values. A quarter of the additions of the plain product.
#pragma once

#include <cstdint>
#include <utility>

#include "kernels/blocks/hadamard_shape.h"
#include "kernels/lanes.h"

namespace spq::kernels {

class Factor28 {
 public:
  static constexpr int kOrder = 28;

  /// out = H in for rows of one vector, in_stride and out_stride values apart. in may be out.
  template <Isa kIsa, class A>
  static void mix(const A* in, int64_t in_stride, A* out, int64_t out_stride) {
    using V = typename Lanes<kIsa, A>::Vector;
    V sums[kHalf], differences[kHalf], firsts[kHalf], seconds[kHalf];
#pragma GCC unroll 14
    for (int i = 0; i < kHalf; ++i) {
      load_lanes(firsts[i], in + i * in_stride);
      load_lanes(seconds[i], in + (i + kHalf) * in_stride);
      sums[i] = firsts[i] + seconds[i];
      differences[i] = firsts[i] - seconds[i];
    }
    multiply_half<kIsa>(sums, seconds, out, out_stride);
    multiply_half<kIsa>(differences, firsts, out + kHalf * out_stride, out_stride);
  }

  /// What mix relies on.
  static constexpr bool is_made_of_halves() {
    for (int i = 0; i < kHalf; ++i) {
      for (int j = 0; j < kHalf; ++j) {
        const bool p = plus(i, j);
        if (i == j && !p) return false;
        if (plus(i, j + kHalf) != (i != j && p) || plus(i + kHalf, j) != (i != j && p)) return false;
        if (plus(i + kHalf, j + kHalf) == p) return false;
      }
    }
    return true;
  }

 private:
  static constexpr int kHalf = 14;

  static constexpr bool plus(int i, int j) {
    return blocks::factor28_is_plus(i, j);
  }

  // Which of the sums of kCount columns from kFirst on row i of P needs: bit k is set where the sign of
  // column k + 1 is that of the first.
  template <int kFirst, int kCount>
  static constexpr int choice(int i) {
    int bits = 0;
    for (int k = 1; k < kCount; ++k) bits |= (plus(i, kFirst + k) == plus(i, kFirst) ? 1 : 0) << (k - 1);
    return bits;
  }

  // All signed sums of three or four values, the first with +.
  template <class V>
  static void sums_of_three(const V* x, V* sums) {
    const V pair[2] = {x[0] - x[1], x[0] + x[1]};
#pragma GCC unroll 4
    for (int c = 0; c < 4; ++c) sums[c] = (c & 2) != 0 ? pair[c & 1] + x[2] : pair[c & 1] - x[2];
  }
  template <class V>
  static void sums_of_four(const V* x, V* sums) {
    const V left[2] = {x[0] - x[1], x[0] + x[1]};
    const V right[2] = {x[2] - x[3], x[2] + x[3]};
#pragma GCC unroll 8
    for (int c = 0; c < 8; ++c) {
      const bool alike = (c & 2) != 0 ? (c & 4) != 0 : (c & 4) == 0;  // signs of x[2] and x[3]
      sums[c] = (c & 2) != 0 ? left[c & 1] + right[alike] : left[c & 1] - right[alike];
    }
  }

  template <bool kPlus, class V>
  static void add(V& total, const V& v) {
    if constexpr (kPlus) {
      total += v;
    } else {
      total -= v;
    }
  }

  // out[kRow] = sum_j P[kRow, j] x_j - 2 y.
  template <Isa kIsa, int kRow, class V>
  static void row(const V* fours, const V* fours2, const V* threes, const V* threes2, const V& y, V& total) {
    constexpr V kMinusTwo = V{} - 2;
    V right = threes[choice<8, 3>(kRow)];
    if constexpr (!plus(kRow, 8)) right = -right;
    add<plus(kRow, 11)>(right, threes2[choice<11, 3>(kRow)]);
    total = right;
    add<plus(kRow, 0)>(total, fours[choice<0, 4>(kRow)]);
    add<plus(kRow, 4)>(total, fours2[choice<4, 4>(kRow)]);
    add_exact_product<kIsa>(total, y, kMinusTwo);
  }

  // out = P x - 2 y.
  template <Isa kIsa, class V, class A>
  static void multiply_half(const V* x, const V* y, A* out, int64_t stride) {
    V fours[8], fours2[8], threes[4], threes2[4];
    sums_of_four(x, fours);
    sums_of_four(x + 4, fours2);
    sums_of_three(x + 8, threes);
    sums_of_three(x + 11, threes2);
    const auto write = [&]<int kRow>() {
      V total;
      row<kIsa, kRow>(fours, fours2, threes, threes2, y[kRow], total);
      store_lanes(out + kRow * stride, total);
    };
    [&]<int... kRow>(std::integer_sequence<int, kRow...>) {
      (write.template operator()<kRow>(), ...);
    }
    (std::make_integer_sequence<int, kHalf>());
  }
};
static_assert(Factor28::is_made_of_halves());

}  // namespace spq::kernels
