// Walsh-Hadamard butterflies within vectors.
#pragma once

#include <utility>

#include "kernels/lanes.h"

namespace spq::kernels {

/// Butterflies within the vectors of a pair: fold, then the sums and differences of both; the way back is
/// sums and differences, then unfold. Four values at a time form a quad.
template <int kLanes>
class PairFold {
 public:
  /// All butterflies within a and b at distances 1, 2, .. below kLanes.
  template <class V>
  static void forward(V& a, V& b) {
    for (int k = 0; k < 2; ++k) {
      values(a, b, Indices());
      butterfly(a, b);
    }
    for (int quads_apart = 1; quads_apart < kQuads; quads_apart *= 2) {
      quads(a, b, Indices());
      butterfly(a, b);
    }
  }

  /// The same backwards.
  template <class V>
  static void inverse(V& a, V& b) {
    for (int quads_apart = 1; quads_apart < kQuads; quads_apart *= 2) {
      butterfly(a, b);
      unfold_quads(a, b, Indices());
    }
    for (int k = 0; k < 2; ++k) {
      butterfly(a, b);
      unfold_values(a, b, Indices());
    }
  }

 private:
  static constexpr int kQuads = kLanes / 4;
  using Indices = std::make_integer_sequence<int, kLanes>;

  // Where lane l of the even (odd: 1) values of a and b comes from, in order of a, then b.
  static constexpr int value_at(int l, int odd) {
    return l / 4 * 4 + (l % 4 < 2 ? 0 : kLanes) + l % 2 * 2 + odd;
  }
  static constexpr int quad_at(int l, int odd) {
    const int quad = l / 4;
    return (2 * (quad % (kQuads / 2)) + odd) * 4 + (quad < kQuads / 2 ? 0 : kLanes) + l % 4;
  }
  // Where lane l of a (second: 1 for b) comes from, in order of evens, then odds.
  static constexpr int value_back(int l, int second) {
    return l / 4 * 4 + (l % 2 == 0 ? 0 : kLanes) + l % 4 / 2 + 2 * second;
  }
  static constexpr int quad_back(int l, int second) {
    const int quad = l / 4;
    return (quad / 2 + second * kQuads / 2) * 4 + (quad % 2 == 0 ? 0 : kLanes) + l % 4;
  }

  template <class V, int... kLane>
  static void values(V& a, V& b, std::integer_sequence<int, kLane...>) {
    const V even = __builtin_shufflevector(a, b, value_at(kLane, 0)...);
    b = __builtin_shufflevector(a, b, value_at(kLane, 1)...);
    a = even;
  }
  template <class V, int... kLane>
  static void quads(V& a, V& b, std::integer_sequence<int, kLane...>) {
    const V even = __builtin_shufflevector(a, b, quad_at(kLane, 0)...);
    b = __builtin_shufflevector(a, b, quad_at(kLane, 1)...);
    a = even;
  }
  template <class V, int... kLane>
  static void unfold_values(V& a, V& b, std::integer_sequence<int, kLane...>) {
    const V first = __builtin_shufflevector(a, b, value_back(kLane, 0)...);
    b = __builtin_shufflevector(a, b, value_back(kLane, 1)...);
    a = first;
  }
  template <class V, int... kLane>
  static void unfold_quads(V& a, V& b, std::integer_sequence<int, kLane...>) {
    const V first = __builtin_shufflevector(a, b, quad_back(kLane, 0)...);
    b = __builtin_shufflevector(a, b, quad_back(kLane, 1)...);
    a = first;
  }
};

}  // namespace spq::kernels
