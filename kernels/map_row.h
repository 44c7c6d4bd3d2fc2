// Loops over rows whose values do not depend on one another.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "kernels/bfloat16.h"
#include "kernels/isa.h"

namespace spq::kernels {

/// Two neighbouring bf16 values in one word of memory: a loop over words moves nothing between the lanes of a
/// vector, unlike one that widens every value.
struct Bf16Pair {
  uint32_t word;

  static Bf16Pair load(const bfloat16* p) {
    Bf16Pair pair;
    std::memcpy(&pair.word, p, sizeof(pair.word));
    return pair;
  }
  /// `first` and `second` rounded, as narrow does.
  static Bf16Pair narrow(float first, float second) {
    return {(bfloat16::round_up_half(first) >> 16) | (bfloat16::round_up_half(second) & 0xffff0000u)};
  }
  void store(bfloat16* p) const { std::memcpy(p, &word, sizeof(word)); }
  float first() const { return std::bit_cast<float>(word << 16); }
  float second() const { return std::bit_cast<float>(word & 0xffff0000u); }
};

/// out[k][i] = results[k] of f(values, results) with values[k] = in[k][i], for 0 <= i < n; rounded to T.
/// Outputs may be inputs.
template <class T, size_t kIn, size_t kOut, class F>
void map_row(const T* const (&in)[kIn], T* const (&out)[kOut], int64_t n, const F& f) {
  using A = Accumulate<T>;
  int64_t done = 0;
  if constexpr (std::is_same_v<T, bfloat16>) {
    SPQ_INDEPENDENT
    for (int64_t i = 0; i < n / 2; ++i) {
      A first[kIn], second[kIn], first_results[kOut], second_results[kOut];
      for (size_t k = 0; k < kIn; ++k) {
        const Bf16Pair pair = Bf16Pair::load(in[k] + 2 * i);
        first[k] = pair.first();
        second[k] = pair.second();
      }
      f(first, first_results);
      f(second, second_results);
      for (size_t k = 0; k < kOut; ++k) {
        Bf16Pair::narrow(first_results[k], second_results[k]).store(out[k] + 2 * i);
      }
    }
    done = n - n % 2;
  }
  SPQ_INDEPENDENT
  for (int64_t i = done; i < n; ++i) {
    A values[kIn], results[kOut];
    for (size_t k = 0; k < kIn; ++k) values[k] = static_cast<A>(in[k][i]);
    f(values, results);
    for (size_t k = 0; k < kOut; ++k) out[k][i] = narrow<T>(results[k]);
  }
}

}  // namespace spq::kernels
