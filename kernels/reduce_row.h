// Reductions over one row in independent lanes: they vectorise without a licence to reorder floating-point
// sums, and their order depends on nothing but the length.
#pragma once

#include <bit>
#include <cstdint>
#include <type_traits>

#include "kernels/bfloat16.h"
#include "kernels/extremes.h"
#include "kernels/map_row.h"

namespace spq::kernels {

inline constexpr int64_t kLanes = 32;

/// A number of type T as the integer of the same order, and back as the type it is computed in.
template <class T>
auto ordered_bits(T v) {
  if constexpr (sizeof(T) == 2) {
    return ordered(v.bits);
  } else if constexpr (sizeof(T) == 4) {
    return ordered(std::bit_cast<uint32_t>(v));
  } else {
    return ordered(std::bit_cast<uint64_t>(v));
  }
}
template <class T, class Bits>
Accumulate<T> from_ordered(Bits o) {
  const auto bits = ordered(static_cast<std::make_unsigned_t<Bits>>(o));
  if constexpr (sizeof(T) == 2) {
    return bfloat16::decode(static_cast<uint16_t>(bits));
  } else {
    return std::bit_cast<T>(bits);
  }
}

/// Extremes of n >= 1 values. A NaN is one: see extremes.h.
template <class T, class A>
MinMax<A> min_max(const T* x, int64_t n) {
  using Bits = decltype(ordered_bits(x[0]));
  constexpr int64_t kWidth = 4 * kLanes / static_cast<int64_t>(sizeof(T));
  Bits low[kWidth];
  Bits high[kWidth];
  for (int64_t j = 0; j < kWidth; ++j) low[j] = high[j] = ordered_bits(x[0]);
  int64_t i = 0;
  for (; i + kWidth <= n; i += kWidth) {
    for (int64_t j = 0; j < kWidth; ++j) {
      const Bits v = ordered_bits(x[i + j]);
      low[j] = v < low[j] ? v : low[j];
      high[j] = v > high[j] ? v : high[j];
    }
  }
  for (; i < n; ++i) {
    const Bits v = ordered_bits(x[i]);
    low[0] = v < low[0] ? v : low[0];
    high[0] = v > high[0] ? v : high[0];
  }
#pragma GCC unroll 8
  for (int64_t width = kWidth / 2; width > 0; width /= 2) {
    for (int64_t j = 0; j < width; ++j) {
      low[j] = low[j + width] < low[j] ? low[j + width] : low[j];
      high[j] = high[j + width] > high[j] ? high[j + width] : high[j];
    }
  }
  return {from_ordered<T>(low[0]), from_ordered<T>(high[0])};
}

template <class A>
A sum_lanes(A* lanes) {
#pragma GCC unroll 8
  for (int64_t width = kLanes / 2; width > 0; width /= 2) {
    for (int64_t j = 0; j < width; ++j) lanes[j] += lanes[j + width];
  }
  return lanes[0];
}

/// sum over i of f({in[0][i], in[1][i], ...}).
template <class A, class T, size_t kIn, class F>
A sum_row(const T* const (&in)[kIn], int64_t n, const F& f) {
  A lanes[kLanes] = {};
  int64_t i = 0;
  if constexpr (std::is_same_v<T, bfloat16>) {
    constexpr int64_t kPairs = kLanes / 2;
    A first[kPairs] = {}, second[kPairs] = {};
    for (; i + kLanes <= n; i += kLanes) {
#pragma GCC unroll 1
      for (int64_t j = 0; j < kPairs; ++j) {
        A a[kIn], b[kIn];
        for (size_t k = 0; k < kIn; ++k) {
          const Bf16Pair pair = Bf16Pair::load(in[k] + i + 2 * j);
          a[k] = pair.first();
          b[k] = pair.second();
        }
        first[j] += f(a);
        second[j] += f(b);
      }
    }
    for (int64_t j = 0; j < kPairs; ++j) {
      lanes[2 * j] = first[j];
      lanes[2 * j + 1] = second[j];
    }
  } else {
    for (; i + kLanes <= n; i += kLanes) {
      for (int64_t j = 0; j < kLanes; ++j) {
        A a[kIn];
        for (size_t k = 0; k < kIn; ++k) a[k] = static_cast<A>(in[k][i + j]);
        lanes[j] += f(a);
      }
    }
  }
  for (int64_t j = 0; i < n; ++i, ++j) {
    A a[kIn];
    for (size_t k = 0; k < kIn; ++k) a[k] = static_cast<A>(in[k][i]);
    lanes[j] += f(a);
  }
  return sum_lanes(lanes);
}

/// sum a_i b_i.
template <class T, class A>
A dot(const T* a, const T* b, int64_t n) {
  const T* const both[] = {a, b};
  return sum_row<A>(both, n, [](const A(&v)[2]) { return v[0] * v[1]; });
}

}  // namespace spq::kernels
