// exp for row loops: no library call, so that they vectorise.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

namespace spq::kernels {

/// e^x within 2 ulp for normal results; exact at 0, infinity above 88.73, 0 below -103.98, NaN for NaN.
/// Standard reduction x = n ln 2 + r, |r| <= ln 2 / 2, Taylor polynomial of degree 7 in r (truncation error
/// 5e-9).
constexpr float row_exp(float x) {
  // Written as comparisons that a NaN fails. Beyond these the result is infinity or 0 anyway.
  const float low = x < -105.0f ? -105.0f : x;
  const float v = low > 90.0f ? 90.0f : low;
  const float shifted = v * 1.44269504f + 12582912.0f;  // its low mantissa bits hold n
  const float n = shifted - 12582912.0f;
  // ln 2 in two parts; n times the first is exact.
  const float r = (v - n * 0.693359375f) - n * -2.12194440e-4f;
  float p = 1.0f / 5040;
  p = p * r + 1.0f / 720;
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * (r * r) + r + 1.0f;
  // 2^n as a product of two powers: n reaches 130 and -151, beyond one exponent.
  const int32_t whole = std::bit_cast<int32_t>(shifted) - std::bit_cast<int32_t>(12582912.0f);
  const int32_t half = whole >> 1;
  const float first = std::bit_cast<float>((half + 127) << 23);
  const float second = std::bit_cast<float>((whole - half + 127) << 23);
  return p * first * second;
}

inline double row_exp(double x) {
  return std::exp(x);
}

}  // namespace spq::kernels
