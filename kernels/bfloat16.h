// bf16 storage for row kernels: the upper half of a float, converted with round-to-nearest-even.
#pragma once

#include <bit>
#include <cstdint>

namespace spq::kernels {

/// Same bits as LibTorch's BFloat16.
struct bfloat16 {
  uint16_t bits;

  bfloat16() = default;
  explicit bfloat16(float value) {
    const auto raw = std::bit_cast<uint32_t>(value);
    const bool is_nan = (raw & 0x7fffffffu) > 0x7f800000u;
    bits = is_nan ? uint16_t{0x7fc0} : static_cast<uint16_t>((raw + 0x7fffu + ((raw >> 16) & 1u)) >> 16);
  }
  explicit operator float() const { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }
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

}  // namespace spq::kernels
