// The arithmetic of fake quantization on one value and on the extremes of a group, for processors and GPUs.
// Files that include it are compiled without contraction to fused multiply-adds: the same bits on every
// machine.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "kernels/extremes.h"
#include "kernels/fake_quant.h"
#include "kernels/round_even.h"

namespace spq::kernels {

/// A pointer into an output that may be null.
template <class T>
constexpr T* at(T* p, int64_t i) {
  return p ? p + i : nullptr;
}

constexpr int64_t group_length(int64_t cols, const QuantSpec& spec) {
  return spec.group_size > 0 ? spec.group_size : cols;
}

template <class A>
constexpr QuantRange<A> symmetric_range(MinMax<A> m, const QuantSpec& spec) {
  const A half = static_cast<A>((1 << (spec.bits - 1)) - 1);
  const A top = (-m.min < m.max ? m.max : -m.min) * static_cast<A>(spec.clip_ratio);
  const A scale = top / half;
  return {scale == 0 ? A{1} : scale, A{0}, -half - 1, half};
}

template <class A>
constexpr QuantRange<A> asymmetric_range(MinMax<A> m, const QuantSpec& spec) {
  const A levels = static_cast<A>((1 << spec.bits) - 1);
  if (spec.range_includes_zero || m.min == m.max) {
    m.min = A{0} < m.min ? A{0} : m.min;
    m.max = m.max < A{0} ? A{0} : m.max;
  }
  m.min *= static_cast<A>(spec.clip_ratio);
  m.max *= static_cast<A>(spec.clip_ratio);
  A scale = (m.max - m.min) / levels;
  if (scale == 0) {
    m = {A{-1}, A{1}};
    scale = A{2} / levels;
  }
  return {scale, round_even(-m.min / scale), A{0}, levels};
}

/// The range of a group whose extremes are `m`. Where it is not finite the scale is NaN, and so is every
/// result.
template <class A>
constexpr QuantRange<A> range_between(MinMax<A> m, const QuantSpec& spec) {
  QuantRange<A> range = spec.symmetric ? symmetric_range(m, spec) : asymmetric_range(m, spec);
  constexpr A kInfinity = std::numeric_limits<A>::infinity();
  // Written as comparisons that a NaN fails.
  if (!(m.min > -kInfinity && m.max < kInfinity && range.scale < kInfinity))
    range.scale = range.zero = std::numeric_limits<A>::quiet_NaN();
  return range;
}

template <class A>
constexpr A code_of(A x, const QuantRange<A>& r) {
  // Written as comparisons that a NaN fails, so that it reaches the result.
  const A code = round_even(x / r.scale) + r.zero;
  const A low = code < r.code_min ? r.code_min : code;
  return low > r.code_max ? r.code_max : low;
}

/// x -> scale (code - zero), the plain way: right for every range.
template <class A>
struct PlainQuantizer {
  QuantRange<A> range;

  constexpr A operator()(A x) const { return range.scale * (code_of(x, range) - range.zero); }
};

/// The same bits with fewer instructions, for machines with fused multiply-adds and for ordinary ranges.
/// The quotient: q = x y with y = 1 / scale rounded, then q + (x - q scale) y, is x / scale rounded
/// (Markstein, IBM Journal of Research and Development 34, 1990), away from the ends of the exponent range.
/// The clamp: code - zero is clamped while it is still the mantissa of round_even's large number, where
/// floats are in the order of their bits. That hides a NaN: the range of a group that has one does not fit.
template <class A>
struct FastQuantizer {
  using Bits = std::conditional_t<sizeof(A) == 4, int32_t, int64_t>;
  static constexpr A kLarge = sizeof(A) == 4 ? A(12582912) : A(6755399441055744);
  static constexpr A kMargin = A(1 << 30);

  A scale;
  A reciprocal;
  Bits low;  // of the sums of code - zero and kLarge
  Bits high;

  static constexpr bool fits(const QuantRange<A>& r) {
    using Limits = std::numeric_limits<A>;
    return r.scale > Limits::min() * kMargin && r.scale < Limits::max() / kMargin && r.zero > kLarge / -8 &&
           r.zero < kLarge / 8;
  }
  constexpr explicit FastQuantizer(const QuantRange<A>& r)
      : scale(r.scale),
        reciprocal(A{1} / r.scale),
        low(std::bit_cast<Bits>(kLarge + (r.code_min - r.zero))),
        high(std::bit_cast<Bits>(kLarge + (r.code_max - r.zero))) {}

  constexpr A operator()(A x) const {
    const A near = x * reciprocal;
    const A quotient = std::fma(std::fma(-near, scale, x), reciprocal, near);
    const Bits rounded = std::bit_cast<Bits>(quotient + kLarge);
    const Bits at_least = rounded < low ? low : rounded;
    const Bits code = at_least > high ? high : at_least;
    return scale * (std::bit_cast<A>(code) - kLarge);
  }
};

}  // namespace spq::kernels
