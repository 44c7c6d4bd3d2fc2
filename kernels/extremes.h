// Extremes of values, and floating-point numbers as integers of the same order.
#pragma once

#include <cstdint>

namespace spq::kernels {

template <class A>
struct MinMax {
  A min;
  A max;
};

/// The bits of a number as an integer of the same order, and back: negative values have all bits
/// but the sign flipped. NaNs lie beyond the infinities.
constexpr int16_t ordered(uint16_t bits) {
  const auto value = static_cast<int16_t>(bits);
  return static_cast<int16_t>(value ^ ((value >> 15) & 0x7fff));
}
constexpr int32_t ordered(uint32_t bits) {
  const auto value = static_cast<int32_t>(bits);
  return value ^ ((value >> 31) & 0x7fffffff);
}
constexpr int64_t ordered(uint64_t bits) {
  const auto value = static_cast<int64_t>(bits);
  return value ^ ((value >> 63) & 0x7fffffffffffffff);
}

}  // namespace spq::kernels
