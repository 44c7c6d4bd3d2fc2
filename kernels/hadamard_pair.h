// Pairs of vectors in which hadamard_segment.h reads a row and writes what becomes of it.
#pragma once

#include <cstdint>
#include <type_traits>

#include "kernels/bfloat16.h"
#include "kernels/lanes.h"

namespace spq::kernels {

/// Two vectors of values from the same 2 * kLanes (fp32: up to 32) neighbours: those of even and of odd index
/// in bf16, which is so widened without moving values between lanes, and those 16 apart in fp32.
template <Isa kIsa, class T>
struct LanePair {
  using V = typename Lanes<kIsa, float>::Vector;
  using Words = typename Lanes<kIsa, uint32_t>::Vector;
  static constexpr int64_t kLanes = Lanes<kIsa, float>::kCount;
  static constexpr bool kWide = std::is_same_v<T, float>;
  static constexpr int64_t kApart = kWide ? 16 : 1;  // distance of the values of a pair
  static constexpr uint32_t kUpper = 0xffff0000u;

  /// Where pair k of a segment begins.
  static constexpr int64_t begin(int64_t k) {
    if (!kWide || kLanes == kApart) return k * 2 * kLanes;
    return k / 2 * 32 + k % 2 * kLanes;
  }

  static void load(const T* x, V& a, V& b) {
    if constexpr (kWide) {
      load_lanes(a, x);
      load_lanes(b, x + kApart);
    } else {
      Words words;
      load_lanes(words, x);
      a = reinterpret_cast<V>(words << 16);
      b = reinterpret_cast<V>(words & kUpper);
    }
  }

  /// Writes the errors a and b, rounded to T, and x plus them, where asked for.
  template <bool kHat, bool kError>
  static void store_point(V& a, V& b, const T* x, T* x_hat, T* error) {
    V xa, xb;
    load(x, xa, xb);
    if constexpr (kWide) {
      xa += a;
      xb += b;
      if constexpr (kError) store(error, a, b);
      if constexpr (kHat) store(x_hat, xa, xb);
    } else {
      Words ea, eb;
      round_up_half(a, ea);
      round_up_half(b, eb);
      if constexpr (kError) store_upper(error, ea, eb);
      xa += reinterpret_cast<V>(ea & kUpper);
      xb += reinterpret_cast<V>(eb & kUpper);
      round_up_half(xa, ea);
      round_up_half(xb, eb);
      if constexpr (kHat) store_upper(x_hat, ea, eb);
    }
  }

 private:
  static void store(T* to, const V& a, const V& b) {
    store_lanes(to, a);
    store_lanes(to + kApart, b);
  }

  // bfloat16::round_up_half.
  static void round_up_half(const V& v, Words& words) {
    words = reinterpret_cast<Words>(v);
    words += 0x7fffu + (words >> 16 & 1u);
  }
  static void store_upper(T* to, const Words& a, const Words& b) {
    const Words words = a >> 16 | (b & kUpper);
    store_lanes(to, words);
  }
};

}  // namespace spq::kernels
