// Vectors as wide as the level of x86-64 that a body is compiled for (isa.h). Arithmetic on them gives the
// same bits on every level: only how many values a vector holds differs.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#include "kernels/isa.h"

namespace spq::kernels {

/// kCount values of type A. GCC and Clang split vectors where the machine's are shorter.
template <Isa kIsa, class A>
struct Lanes {
  static constexpr int kBytes = kIsa == Isa::kAvx512 ? 64 : 32;
  static constexpr int64_t kCount = kBytes / static_cast<int64_t>(sizeof(A));
  typedef A Vector __attribute__((vector_size(kBytes)));
  using Indices = std::make_index_sequence<static_cast<size_t>(kCount)>;
};

/// Calls body(std::integral_constant<Isa, isa>()) compiled for `isa`, which best_isa() must allow.
template <class Body>
void run_at(Isa isa, const Body& body) {
#if SPQ_X86_LEVELS
  if (isa == Isa::kAvx512) return run_avx512([&] { body(std::integral_constant<Isa, Isa::kAvx512>()); });
  if (isa == Isa::kAvx2) return run_avx2([&] { body(std::integral_constant<Isa, Isa::kAvx2>()); });
#endif
  static_cast<void>(isa);
  body(std::integral_constant<Isa, Isa::kBaseline>());
}

// Vectors are passed by reference: by value they have no calling convention that all levels share.
template <class V, class P>
void load_lanes(V& v, const P* from) {
  std::memcpy(&v, from, sizeof(V));
}
template <class V, class P>
void store_lanes(P* to, const V& v) {
  std::memcpy(to, &v, sizeof(V));
}

/// sum += a b where the product is exact: fused or not, the bits are the same.
template <Isa kIsa, class V>
void add_exact_product(V& sum, const V& a, const V& b) {
  if constexpr (kIsa == Isa::kBaseline) {
    sum += a * b;
  } else {
    SPQ_INDEPENDENT
    for (size_t i = 0; i < sizeof(V) / sizeof(a[0]); ++i) sum[i] = std::fma(a[i], b[i], sum[i]);
  }
}

/// (a, b) = (a + b, a - b).
template <class V>
void butterfly(V& a, V& b) {
  const V sum = a + b;
  b = a - b;
  a = sum;
}

/// Extremes, lane by lane, of the numbers seen so far; skips NaNs.
template <class V>
void extend_extremes(V& low, V& high, const V& v) {
  low = v < low ? v : low;
  high = v > high ? v : high;
}

/// All lanes become the extremes over the lanes.
template <size_t kDistance, class V, size_t... kLane>
void join_lanes(V& low, V& high, std::index_sequence<kLane...> lanes) {
  const V other_low = __builtin_shufflevector(low, low, (kLane ^ kDistance)...);
  const V other_high = __builtin_shufflevector(high, high, (kLane ^ kDistance)...);
  low = other_low < low ? other_low : low;
  high = other_high > high ? other_high : high;
  if constexpr (kDistance > 1) join_lanes<kDistance / 2>(low, high, lanes);
}

}  // namespace spq::kernels
