// bf16 storage for row kernels: the upper half of a float, converted with round-to-nearest-even.
#pragma once

#include <bit>
#include <cstdint>
#include <type_traits>

namespace spq::kernels {

/// Same bits as LibTorch's BFloat16.
struct bfloat16 {
  uint16_t bits;

  bfloat16() = default;
  constexpr explicit bfloat16(float value) : bits(encode(value)) {}
  constexpr explicit operator float() const { return decode(bits); }

  static constexpr uint16_t encode(float value) {
    const bool is_nan = (std::bit_cast<uint32_t>(value) & 0x7fffffffu) > 0x7f800000u;
    return is_nan ? uint16_t{0x7fc0} : static_cast<uint16_t>(round_up_half(value) >> 16);
  }
  /// Its upper half is `value` rounded to nearest, ties to even. Not for a NaN with ones in the lower half.
  static constexpr uint32_t round_up_half(float value) {
    const auto raw = std::bit_cast<uint32_t>(value);
    return raw + 0x7fffu + ((raw >> 16) & 1u);
  }
  static constexpr float decode(uint16_t code) {
    return std::bit_cast<float>(static_cast<uint32_t>(code) << 16);
  }
};

/// The type in which a row of T is computed: float for bf16 and float, double for double.
template <class T>
struct AccumulateType {
  using type = T;
};
template <>
struct AccumulateType<bfloat16> {
  using type = float;
};
template <class T>
using Accumulate = typename AccumulateType<T>::type;

/// A result of arithmetic on values of T, rounded to T. Without the constructor's test for NaN: one that
/// comes from bf16 values, or from nothing, has zeros below its upper half, and rounding leaves it alone.
template <class T>
T narrow(Accumulate<T> v) {
  if constexpr (std::is_same_v<T, bfloat16>) {
    bfloat16 narrowed;
    narrowed.bits = static_cast<uint16_t>(bfloat16::round_up_half(v) >> 16);
    return narrowed;
  } else {
    return v;
  }
}

/// The same as a number: it goes through no T, which would keep a loop from being vectorised.
template <class T>
Accumulate<T> rounded(Accumulate<T> v) {
  if constexpr (std::is_same_v<T, bfloat16>) {
    return std::bit_cast<float>(bfloat16::round_up_half(v) & 0xffff0000u);
  } else {
    return v;
  }
}

/// slot = v for a v that T holds exactly, NaN included: cheaper than rounding again.
template <class T>
void store_exact(T& slot, Accumulate<T> v) {
  if constexpr (std::is_same_v<T, bfloat16>) {
    slot.bits = static_cast<uint16_t>(std::bit_cast<uint32_t>(v) >> 16);
  } else {
    slot = v;
  }
}

}  // namespace spq::kernels
