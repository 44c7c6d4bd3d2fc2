// Rounding to integers in loops that are to be vectorised.
#pragma once

namespace spq::kernels {

// Round half to even without a library call, so that loops vectorise on any x86-64: adding and
// subtracting 1.5 * 2^(mantissa bits) leaves the nearest integer. Exact below 2^22 (float) and 2^51 (double).
constexpr float round_even(float v) {
  return (v + 12582912.0f) - 12582912.0f;
}
constexpr double round_even(double v) {
  return (v + 6755399441055744.0) - 6755399441055744.0;
}

}  // namespace spq::kernels
