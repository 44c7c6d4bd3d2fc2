// Reductions over one row in independent lanes: they vectorise without a licence to reorder floating-point
// sums, and their order depends on nothing but the length.
#pragma once

#include <cstdint>
#include <type_traits>

#include "kernels/bfloat16.h"
#include "kernels/extremes.h"

namespace spq::kernels {

inline constexpr int64_t kLanes = 32;

/// Extremes of n >= 1 values that are integers, or floats whose NaNs are skipped unless first.
template <int64_t kWidth, class A, class Value>
MinMax<A> lane_min_max(const Value& value, int64_t n) {
  A low[kWidth];
  A high[kWidth];
  for (int64_t j = 0; j < kWidth; ++j) low[j] = high[j] = value(0);
  int64_t i = 0;
  for (; i + kWidth <= n; i += kWidth) {
    for (int64_t j = 0; j < kWidth; ++j) {
      const A v = value(i + j);
      low[j] = v < low[j] ? v : low[j];
      high[j] = v > high[j] ? v : high[j];
    }
  }
  for (; i < n; ++i) {
    const A v = value(i);
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
  return {low[0], high[0]};
}

/// Extremes of n >= 1 values. A NaN is an extreme in bf16, and otherwise skipped unless it is the first
/// value.
template <class T, class A>
MinMax<A> min_max(const T* x, int64_t n) {
  if constexpr (std::is_same_v<T, bfloat16>) {
    const auto m = lane_min_max<2 * kLanes, int16_t>([x](int64_t i) { return ordered(x[i].bits); }, n);
    const auto number = [](int16_t v) {
      return bfloat16::decode(static_cast<uint16_t>(ordered(static_cast<uint16_t>(v))));
    };
    return {number(m.min), number(m.max)};
  } else {
    return lane_min_max<kLanes, A>([x](int64_t i) { return static_cast<A>(x[i]); }, n);
  }
}

template <class A>
A sum_lanes(A* lanes) {
#pragma GCC unroll 8
  for (int64_t width = kLanes / 2; width > 0; width /= 2) {
    for (int64_t j = 0; j < width; ++j) lanes[j] += lanes[j + width];
  }
  return lanes[0];
}

/// sum a_i b_i.
template <class T, class A>
A dot(const T* a, const T* b, int64_t n) {
  A lanes[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (int64_t j = 0; j < kLanes; ++j) lanes[j] += static_cast<A>(a[i + j]) * static_cast<A>(b[i + j]);
  }
  for (int64_t j = 0; i < n; ++i, ++j) lanes[j] += static_cast<A>(a[i]) * static_cast<A>(b[i]);
  return sum_lanes(lanes);
}

}  // namespace spq::kernels
