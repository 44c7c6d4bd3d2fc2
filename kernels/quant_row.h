// Loops of fake quantization over one row, for the kernels that fuse it with something else. Files
// that include it are compiled without contraction to fused multiply-adds: the same bits on every machine.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/bfloat16.h"
#include "kernels/fake_quant.h"
#include "kernels/isa.h"
#include "kernels/quant_arithmetic.h"
#include "kernels/quant_avx512.h"
#include "kernels/reduce_row.h"

namespace spq::kernels {

/// Calls body(quantizer) with the faster one if it fits.
template <class A, class Body>
void with_quantizer(const QuantRange<A>& range, const Body& body) {
  if (best_isa() != Isa::kBaseline && FastQuantizer<A>::fits(range)) return body(FastQuantizer<A>(range));
  body(PlainQuantizer<A>{range});
}

/// How a value of the row becomes the one that is quantized: as it is, or times `factor` > 0, rounded to T.
template <class T>
struct AsItIs {
  Accumulate<T> operator()(Accumulate<T> v) const { return v; }
  const Accumulate<T>* factor() const { return nullptr; }
};
template <class T>
struct Times {
  Accumulate<T> by;
  Accumulate<T> operator()(Accumulate<T> v) const { return rounded<T>(v * by); }
  const Accumulate<T>* factor() const { return &by; }
};

/// Quantizes the values map(x[i]), 0 <= i < n, into x_hat[i] and error[i], where asked for.
template <bool kWriteHat, bool kWriteError, class T, class Map>
void quant_group(const T* x, const Map& map, T* x_hat, T* error, int64_t n,
                 const QuantRange<Accumulate<T>>& range) {
  using A = Accumulate<T>;
  with_quantizer(range, [=](auto quantizer) {
    SPQ_INDEPENDENT
    for (int64_t i = 0; i < n; ++i) {
      const A v = map(static_cast<A>(x[i]));
      const A hat = rounded<T>(quantizer(v));
      if constexpr (kWriteHat) store_exact(x_hat[i], hat);
      if constexpr (kWriteError) error[i] = narrow<T>(hat - v);
    }
  });
}

/// Calls body.template operator()<write x_hat, write error>() for the outputs that are not null.
template <class T, class Body>
void for_outputs(const T* x_hat, const T* error, const Body& body) {
  if (x_hat && error) return body.template operator()<true, true>();
  if (x_hat) return body.template operator()<true, false>();
  if (error) body.template operator()<false, true>();
}

/// Groups whose ranges are found together: their divisions overlap.
inline constexpr int64_t kRangesAtOnce = 32;

/// Ranges of `count` groups of values map(x) from the extremes of x; a loop, so that several are found at
/// once.
template <class A, class Map>
void find_ranges_between(const MinMax<A>* extremes, const Map& map, int64_t count, const QuantSpec& spec,
                         QuantRange<A>* ranges) {
  SPQ_INDEPENDENT
  for (int64_t g = 0; g < count; ++g) {
    // Both maps keep the order of values.
    ranges[g] = range_between(MinMax<A>{map(extremes[g].min), map(extremes[g].max)}, spec);
  }
}

/// out = norm (Q(norm v) - norm v) for `rows` rows of n values, `stride` apart in v and n apart in out, which
/// may be v: the error behind a transform that is norm times an unnormalised one, scaled for the way back.
template <class A>
void error_behind_transform(const A* v, int64_t stride, A* out, int64_t rows, int64_t n, A norm,
                            const QuantRange<A>& range) {
  with_quantizer(range, [=](auto quantizer) {
    for (int64_t i = 0; i < rows; ++i) {
      SPQ_INDEPENDENT
      for (int64_t j = 0; j < n; ++j) {
        const A value = v[i * stride + j] * norm;
        out[i * n + j] = norm * (quantizer(value) - value);
      }
    }
  });
}

/// Ranges of groups of `length` values map(x[i]). True if avx512::quant_groups can quantize them.
template <class T, class Map>
bool find_ranges(const T* x, const Map& map, int64_t length, int64_t groups, const QuantSpec& spec,
                 QuantRange<Accumulate<T>>* ranges) {
  using A = Accumulate<T>;
  MinMax<A> extremes[kRangesAtOnce];
  bool in_avx512 = false;
  if constexpr (avx512::kHas<T>) {
    in_avx512 = avx512::fits(length);
    if (in_avx512) avx512::min_max_groups(x, length, groups, extremes);
  }
  if (!in_avx512) {
    for (int64_t g = 0; g < groups; ++g) extremes[g] = min_max<T, A>(x + g * length, length);
  }
  find_ranges_between(extremes, map, groups, spec, ranges);
  return in_avx512 && std::all_of(ranges, ranges + groups, FastQuantizer<A>::fits);
}

/// Quantizes a row of values map(x[i]), group by group, into the outputs that are not null.
template <bool kWriteHat, bool kWriteError, class T, class Map>
void quant_row(const T* x, const Map& map, T* x_hat, T* error, int64_t cols, const QuantSpec& spec) {
  const int64_t length = group_length(cols, spec);
  QuantRange<Accumulate<T>> ranges[kRangesAtOnce];
  for (int64_t begin = 0, groups = 0; begin < cols; begin += groups * length) {
    groups = std::min(kRangesAtOnce, (cols - begin) / length);
    T* hats = at(x_hat, begin);
    T* errors = at(error, begin);
    const bool in_avx512 = find_ranges(x + begin, map, length, groups, spec, ranges);
    if constexpr (avx512::kHas<T>) {
      if (in_avx512) {
        avx512::quant_groups(x + begin, map.factor(), hats, errors, length, groups, ranges);
        continue;
      }
    }
    for (int64_t g = 0; g < groups; ++g) {
      const int64_t i = g * length;
      quant_group<kWriteHat, kWriteError>(x + begin + i, map, at(hats, i), at(errors, i), length, ranges[g]);
    }
  }
}

}  // namespace spq::kernels
