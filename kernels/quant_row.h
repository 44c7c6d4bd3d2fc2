// Loops of fake quantization over one group of a row, for the kernels that fuse it with something else. Files
// that include it are compiled without contraction to fused multiply-adds: the same bits on every machine.
#pragma once

#include <cstdint>

#include "kernels/bfloat16.h"
#include "kernels/fake_quant.h"
#include "kernels/isa.h"
#include "kernels/quant_arithmetic.h"
#include "kernels/reduce_row.h"

namespace spq::kernels {

/// Calls body(quantizer) with the faster one if it fits.
template <class A, class Body>
void with_quantizer(const QuantRange<A>& range, const Body& body) {
  if (best_isa() != Isa::kBaseline && FastQuantizer<A>::fits(range)) return body(FastQuantizer<A>(range));
  body(PlainQuantizer<A>{range});
}

/// Quantizes the values value(i), begin <= i < end, already rounded to T, into x_hat[i] and error[i], where
/// asked for.
template <bool kWriteHat, bool kWriteError, class T, class Value>
void quant_group(const Value& value, T* x_hat, T* error, int64_t begin, int64_t end,
                 const QuantRange<Accumulate<T>>& range) {
  using A = Accumulate<T>;
  with_quantizer(range, [=](auto quantizer) {
    SPQ_INDEPENDENT
    for (int64_t i = begin; i < end; ++i) {
      const A v = value(i);
      const A e = rounded<T>(quantizer(v) - v);
      if constexpr (kWriteError) store_exact(error[i], e);
      // The sum of the rounded error: x_hat - x is what the moments see.
      if constexpr (kWriteHat) x_hat[i] = narrow<T>(v + e);
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

}  // namespace spq::kernels
