// Fake quantization of rows: the difference that rounding to b-bit integers makes.
// Quantizers as in SpinQuant (arXiv 2405.16406) and QuaRot (arXiv 2404.00456); round half to even everywhere.
#pragma once

#include <cstdint>

namespace spq::kernels {

/// How a row of `cols` values is quantized.
struct QuantSpec {
  int bits = 16;                    // 2..8; 16: not quantized
  bool symmetric = false;           // true: no zero point
  int64_t group_size = -1;          // values per scale; -1: the whole row. Must divide cols.
  bool range_includes_zero = true;  // asymmetric: extend [min, max] to hold 0
  double clip_ratio = 1.0;          // min and max are multiplied by it

  bool enabled() const { return bits < 16; }
};

/// Scale and zero point of one group. symmetric:  scale = clip max|x| / (2^(b-1) - 1), codes
/// -2^(b-1)..2^(b-1)-1, zero 0. asymmetric: scale = (max - min) / (2^b - 1), zero = round(-min / scale),
/// codes 0..2^b-1. x_hat = scale (code - zero). A group of zeros has scale 1 (symmetric) or the range [-1, 1]
/// (asymmetric); a constant group whose range does not include zero is given one that does (its scale would
/// be 0 otherwise).
template <class A>
struct QuantRange {
  A scale;
  A zero;
  A code_min;
  A code_max;
};

/// Range of the n values at x. T: float, double or bfloat16; bf16 is computed in fp32.
template <class T, class A>
QuantRange<A> find_range(const T* x, int64_t n, const QuantSpec& spec);

/// x_hat = Q(x) and error = x_hat - x (both rounded to T) for every row of x [rows, cols], in one pass over
/// each group; computed in fp32 for bf16. Either output may be null, or x itself. May be called on parts of
/// the rows from several threads. A NaN or an infinite value makes its whole group NaN.
template <class T>
void fake_quant_rows(const T* x, T* x_hat, T* error, int64_t rows, int64_t cols, const QuantSpec& spec);

/// The integer codes of every row, as defined above.
template <class T>
void quant_codes(const T* x, int16_t* codes, int64_t rows, int64_t cols, const QuantSpec& spec);

}  // namespace spq::kernels
