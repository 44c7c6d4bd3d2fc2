// exp for row loops: no library call, so that they vectorise.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

namespace spq::kernels {

/// row_exp(x) for -88 <= x <= 89, or NaN.
constexpr float row_exp_between(float x) {
  const float shifted = x * 1.44269504f + 12582912.0f;  // its low mantissa bits hold n
  const float n = shifted - 12582912.0f;
  // ln 2 in two parts; n times the first is exact.
  const float r = (x - n * 0.693359375f) - n * -2.12194440e-4f;
  float p = 1.0f / 5040;
  p = p * r + 1.0f / 720;
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * (r * r) + r + 1.0f;
  return p * std::bit_cast<float>((std::bit_cast<uint32_t>(shifted) << 23) + (127u << 23));
}

/// e^x within 2 ulp from -87.33 to 88.37; exact at 0, infinity above, 0 below -87.69, NaN for NaN. Standard
/// reduction x = n ln 2 + r, |r| <= ln 2 / 2, Taylor polynomial of degree 7 in r (truncation error 5e-9).
constexpr float row_exp(float x) {
  // Written as comparisons that a NaN fails. Between them n is one that an exponent holds: 2^-127 is 0 there,
  // 2^128 is infinity.
  const float low = x < -88.0f ? -88.0f : x;
  const float v = low > 89.0f ? 89.0f : low;
  return row_exp_between(v);
}

inline double row_exp(double x) {
  return std::exp(x);
}

}  // namespace spq::kernels
