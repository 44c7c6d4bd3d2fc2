// Unnormalised Walsh-Hadamard transform in natural order, in place.
#pragma once

#include <cstdint>
#include <cstring>
#include <utility>

#include "kernels/isa.h"

namespace spq::kernels {

/// 32 bytes: what AVX2 and AVX-512 shuffle in one instruction; GCC and Clang split it elsewhere.
template <class A>
struct WalshVector {
  typedef A type __attribute__((vector_size(32)));
  static constexpr int64_t kLength = 32 / sizeof(A);
};

/// Butterflies between lanes at distance kDistance: lane i becomes v[i] + v[i ^ d], or v[i ^ d] - v[i] where
/// bit d of i is set.
template <size_t kDistance, class V, size_t... kLane>
void walsh_in_vector(V& v, std::index_sequence<kLane...>) {
  // Multiplying by +-1 is exact, so it may be fused.
  constexpr V kSign = {((kLane & kDistance) != 0 ? -1 : 1)...};
  v = __builtin_shufflevector(v, v, (kLane ^ kDistance)...) + v * kSign;
}

/// Transform of kVectors vectors held in registers.
template <int kVectors, class A>
void walsh_in_registers(A* x) {
  using V = typename WalshVector<A>::type;
  constexpr size_t kLength = WalshVector<A>::kLength;
  constexpr auto kLanes = std::make_index_sequence<kLength>();
  V v[kVectors];
#pragma GCC unroll 16
  for (int k = 0; k < kVectors; ++k) {
    std::memcpy(&v[k], x + k * WalshVector<A>::kLength, sizeof(V));
    walsh_in_vector<1>(v[k], kLanes);
    walsh_in_vector<2>(v[k], kLanes);
    if constexpr (kLength > 4) walsh_in_vector<4>(v[k], kLanes);
  }
#pragma GCC unroll 4
  for (int h = 1; h < kVectors; h *= 2) {
#pragma GCC unroll 16
    for (int k = 0; k < kVectors; ++k) {
      if (k & h) continue;
      const V a = v[k];
      v[k] = a + v[k + h];
      v[k + h] = a - v[k + h];
    }
  }
#pragma GCC unroll 16
  for (int k = 0; k < kVectors; ++k) std::memcpy(x + k * WalshVector<A>::kLength, &v[k], sizeof(V));
}

/// Butterflies at distance h alone, then at two distances, one twice the other, in one pass over memory.
template <class A>
void walsh_stage(A* x, int64_t n, int64_t h) {
  for (int64_t i = 0; i < n; i += 2 * h) {
    SPQ_INDEPENDENT
    for (int64_t j = i; j < i + h; ++j) {
      const A a = x[j];
      const A b = x[j + h];
      x[j] = a + b;
      x[j + h] = a - b;
    }
  }
}
template <class A>
void walsh_two_stages(A* x, int64_t n, int64_t first, int64_t second) {
  const int64_t h = first < second ? first : second;
  for (int64_t i = 0; i < n; i += 4 * h) {
    SPQ_INDEPENDENT
    for (int64_t j = i; j < i + h; ++j) {
      const A sum = x[j] + x[j + first];
      const A difference = x[j] - x[j + first];
      const A sum2 = x[j + second] + x[j + first + second];
      const A difference2 = x[j + second] - x[j + first + second];
      x[j] = sum + sum2;
      x[j + first] = difference + difference2;
      x[j + second] = sum - sum2;
      x[j + first + second] = difference - difference2;
    }
  }
}

/// Transforms n (a power of two) values.
template <class A>
void walsh(A* x, int64_t n) {
  constexpr int64_t kSmall = WalshVector<A>::kLength;
  int64_t h = 1;
  if (n >= 16 * kSmall) {
    h = 16 * kSmall;
    for (int64_t i = 0; i < n; i += h) walsh_in_registers<16>(x + i);
  } else if (n >= 8 * kSmall) {
    h = 8 * kSmall;
    walsh_in_registers<8>(x);
  } else if (n >= kSmall) {
    h = kSmall;
    for (int64_t i = 0; i < n; i += h) walsh_in_registers<1>(x + i);
  }
  for (; 4 * h <= n; h *= 4) walsh_two_stages(x, n, h, 2 * h);
  if (h < n) walsh_stage(x, n, h);
}

}  // namespace spq::kernels
