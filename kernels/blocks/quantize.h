// Fake quantization of values in registers, for the block kernels that fuse it with something else.
#pragma once

#include "kernels/blocks/rows.h"
#include "kernels/quant_arithmetic.h"

namespace spq::kernels::blocks {

/// Calls body(quantizer) with the faster one if it fits: the same bits.
template <class Body>
SPQ_BLOCK void with_quantizer(const QuantRange<float>& range, const Body& body) {
  if (FastQuantizer<float>::fits(range)) {
    body(FastQuantizer<float>(range));
  } else {
    body(PlainQuantizer<float>{range});
  }
}

/// error and x + error for an error not yet rounded, into the outputs that are not null.
template <int kWidth, class T>
SPQ_BLOCK void store_point(const Pack<float, kWidth>& x, const Pack<float, kWidth>& error_of_x, T* x_hat,
                           T* error) {
  Pack<T, kWidth> hats, errors;
  SPQ_UNROLL
  for (int k = 0; k < kWidth; ++k) {
    errors.v[k] = to_storage<T>(error_of_x.v[k]);
    hats.v[k] = to_storage<T>(x.v[k] + number(errors.v[k]));
  }
  if (x_hat) store_pack(x_hat, hats);
  if (error) store_pack(error, errors);
}

/// The quantized values and the error of values that T holds exactly, into the outputs that are not null.
template <int kWidth, class T, class Quantizer>
SPQ_BLOCK void quantize_pack(const Pack<float, kWidth>& x, const Quantizer& quantizer, T* x_hat, T* error) {
  Pack<T, kWidth> hats, errors;
  SPQ_UNROLL
  for (int k = 0; k < kWidth; ++k) {
    hats.v[k] = to_storage<T>(quantizer(x.v[k]));
    errors.v[k] = to_storage<T>(number(hats.v[k]) - x.v[k]);
  }
  if (x_hat) store_pack(x_hat, hats);
  if (error) store_pack(error, errors);
}

template <int kWidth, class T>
SPQ_BLOCK Pack<float, kWidth> numbers(const Pack<T, kWidth>& pack) {
  Pack<float, kWidth> values;
  SPQ_UNROLL
  for (int k = 0; k < kWidth; ++k) values.v[k] = number(pack.v[k]);
  return values;
}

}  // namespace spq::kernels::blocks
