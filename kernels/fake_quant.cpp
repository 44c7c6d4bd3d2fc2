#include "kernels/fake_quant.h"

#include <algorithm>

#include "kernels/bfloat16.h"

namespace spq::kernels {
namespace {

// Round half to even without a library call, so that loops vectorise on any x86-64: adding and
// subtracting 1.5 * 2^(mantissa bits) leaves the nearest integer. Exact below 2^22 (float) and 2^51 (double);
// codes are clamped far below that.
inline float round_even(float v) {
  return (v + 12582912.0f) - 12582912.0f;
}
inline double round_even(double v) {
  return (v + 6755399441055744.0) - 6755399441055744.0;
}

template <class A>
struct MinMax {
  A min;
  A max;
};

// Lanes are independent, so the compiler needs no licence to reorder a floating-point reduction.
template <class T, class A>
MinMax<A> min_max(const T* x, int64_t n) {
  constexpr int64_t kLanes = 16;
  A low[kLanes];
  A high[kLanes];
  std::fill_n(low, kLanes, static_cast<A>(x[0]));
  std::fill_n(high, kLanes, static_cast<A>(x[0]));
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (int64_t j = 0; j < kLanes; ++j) {
      const A v = static_cast<A>(x[i + j]);
      low[j] = v < low[j] ? v : low[j];
      high[j] = v > high[j] ? v : high[j];
    }
  }
  for (; i < n; ++i) {
    const A v = static_cast<A>(x[i]);
    low[0] = v < low[0] ? v : low[0];
    high[0] = v > high[0] ? v : high[0];
  }
  return {*std::min_element(low, low + kLanes), *std::max_element(high, high + kLanes)};
}

int64_t group_length(int64_t cols, const QuantSpec& spec) {
  return spec.group_size > 0 ? spec.group_size : cols;
}

template <class A>
A code_of(A x, const QuantRange<A>& r) {
  // Written as comparisons that a NaN fails, so that it reaches the result.
  const A code = round_even(x / r.scale) + r.zero;
  const A low = code < r.code_min ? r.code_min : code;
  return low > r.code_max ? r.code_max : low;
}

}  // namespace

template <class T, class A>
QuantRange<A> find_range(const T* x, int64_t n, const QuantSpec& spec) {
  const A clip = static_cast<A>(spec.clip_ratio);
  MinMax<A> m = min_max<T, A>(x, n);
  if (spec.symmetric) {
    const A half = static_cast<A>((1 << (spec.bits - 1)) - 1);
    const A top = std::max(-m.min, m.max) * clip;
    const A scale = top / half;
    return {scale == 0 ? A{1} : scale, A{0}, -half - 1, half};
  }
  const A levels = static_cast<A>((1 << spec.bits) - 1);
  if (spec.range_includes_zero || m.min == m.max) {
    m.min = std::min(m.min, A{0});
    m.max = std::max(m.max, A{0});
  }
  m.min *= clip;
  m.max *= clip;
  A scale = (m.max - m.min) / levels;
  if (scale == 0) {
    m = {A{-1}, A{1}};
    scale = A{2} / levels;
  }
  return {scale, round_even(-m.min / scale), A{0}, levels};
}

template <class T>
void fake_quant_error(const T* x, T* error, int64_t rows, int64_t cols, const QuantSpec& spec) {
  using A = Accumulate<T>;
  const int64_t length = group_length(cols, spec);
  for (int64_t begin = 0; begin < rows * cols; begin += length) {
    const T* in = x + begin;
    T* out = error + begin;
    const QuantRange<A> range = find_range<T, A>(in, length, spec);
    for (int64_t i = 0; i < length; ++i) {
      const A v = static_cast<A>(in[i]);
      out[i] = static_cast<T>(range.scale * (code_of(v, range) - range.zero) - v);
    }
  }
}

template <class T>
void quant_codes(const T* x, int16_t* codes, int64_t rows, int64_t cols, const QuantSpec& spec) {
  using A = Accumulate<T>;
  const int64_t length = group_length(cols, spec);
  for (int64_t begin = 0; begin < rows * cols; begin += length) {
    const QuantRange<A> range = find_range<T, A>(x + begin, length, spec);
    for (int64_t i = begin; i < begin + length; ++i) {
      codes[i] = static_cast<int16_t>(code_of(static_cast<A>(x[i]), range));
    }
  }
}

template QuantRange<float> find_range<float, float>(const float*, int64_t, const QuantSpec&);
template QuantRange<double> find_range<double, double>(const double*, int64_t, const QuantSpec&);
template QuantRange<float> find_range<bfloat16, float>(const bfloat16*, int64_t, const QuantSpec&);
template void fake_quant_error<float>(const float*, float*, int64_t, int64_t, const QuantSpec&);
template void fake_quant_error<double>(const double*, double*, int64_t, int64_t, const QuantSpec&);
template void fake_quant_error<bfloat16>(const bfloat16*, bfloat16*, int64_t, int64_t, const QuantSpec&);
template void quant_codes<float>(const float*, int16_t*, int64_t, int64_t, const QuantSpec&);
template void quant_codes<double>(const double*, int16_t*, int64_t, int64_t, const QuantSpec&);
template void quant_codes<bfloat16>(const bfloat16*, int16_t*, int64_t, int64_t, const QuantSpec&);

}  // namespace spq::kernels
