// Inputs of the kernel tests, and how their results read as double.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "kernels/bfloat16.h"

namespace spq::kernels::test {

/// n values of sizes from 0.001 to 8 and both signs, the same for the same seed.
template <class T>
std::vector<T> noise(int64_t n, uint64_t seed) {
  std::vector<T> values(static_cast<size_t>(n));
  uint64_t state = seed * 2654435761u + 12345;
  for (T& v : values) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    const double unit = static_cast<double>(state >> 11) / 9007199254740992.0;  // [0, 1)
    v = static_cast<T>(static_cast<Accumulate<T>>(std::tan(2.9 * (unit - 0.5)) + 0.1));
  }
  return values;
}

template <class T>
double number(T v) {
  return static_cast<double>(static_cast<Accumulate<T>>(v));
}

template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

/// What one rounding to T may change of a value of this size.
template <class T>
double rounding(double size) {
  return std::abs(size) * (sizeof(T) == 2 ? 4e-3 : sizeof(T) == 4 ? 1.2e-7 : 2.3e-16);
}

}  // namespace spq::kernels::test
