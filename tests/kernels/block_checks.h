// Pieces of the comparisons of block_cases.h.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "kernels/bfloat16.h"
#include "tests/kernels/block_cases.h"
#include "tests/kernels/values.h"

namespace spq::kernels::test {

/// FNV-1a over the bits.
template <class T>
uint64_t hash_bits(const std::vector<T>& values, uint64_t hash = 14695981039346656037u) {
  const auto* bytes = reinterpret_cast<const unsigned char*>(values.data());
  for (size_t i = 0; i < values.size() * sizeof(T); ++i) hash = (hash ^ bytes[i]) * 1099511628211u;
  return hash;
}

inline std::string name_of(const RowCase& c, size_t bytes) {
  return std::to_string(c.rows) + " x " + std::to_string(c.cols) + ", bytes " + std::to_string(bytes) +
         ", bits " + std::to_string(c.spec.bits) + (c.spec.symmetric ? " symmetric" : "") + ", group " +
         std::to_string(c.spec.group_size) + ", offset " + std::to_string(c.offset);
}

template <class T>
std::vector<double> in_double(const std::vector<T>& values) {
  std::vector<double> wide;
  wide.reserve(values.size());
  for (const T& v : values) wide.push_back(number(v));
  return wide;
}

/// Differences within tolerance(i).
template <class T, class Tolerance>
void expect_within(const std::vector<T>& found, const std::vector<double>& expected,
                   const Tolerance& tolerance, const std::string& name) {
  ASSERT_EQ(found.size(), expected.size());
  for (size_t i = 0; i < found.size(); ++i) {
    ASSERT_NEAR(number(found[i]), expected[i], tolerance(i)) << name << " at " << i;
  }
}

/// Within some roundings of T, plus `floor`.
template <class T>
void expect_close(const std::vector<T>& found, const std::vector<double>& expected, double roundings,
                  double floor, const std::string& name) {
  const auto tolerance = [&](size_t i) { return roundings * rounding<T>(expected[i]) + floor; };
  expect_within(found, expected, tolerance, name);
}

/// x_hat is x + error rounded once, bit for bit.
template <class T>
void expect_hat_is_sum(const std::vector<T>& x, const std::vector<T>& x_hat, const std::vector<T>& error,
                       const std::string& name) {
  std::vector<T> sum(x.size());
  for (size_t i = 0; i < x.size(); ++i) {
    using A = Accumulate<T>;
    sum[i] = static_cast<T>(static_cast<A>(static_cast<A>(x[i]) + static_cast<A>(error[i])));
  }
  EXPECT_TRUE(same_bits(sum, x_hat)) << name;
}

/// Where v lies on the edge between two codes of `scale`, to within `tolerance` steps.
inline bool on_edge(double v, double scale, double tolerance) {
  const double position = v / scale;
  return std::abs(position - std::floor(position) - 0.5) < tolerance;
}

}  // namespace spq::kernels::test
