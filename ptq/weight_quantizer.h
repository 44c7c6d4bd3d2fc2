// Integer codes of one weight matrix: ranges with an optional clip search, round to nearest, and back.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string_view>

namespace spq::ptq {

/// How a weight matrix [rows = output channels, columns = inputs] is quantized.
struct WeightQuantSpec {
  int bits = 4;             // 2..8; 16: not quantized
  bool symmetric = true;    // true: zero point 0
  int64_t group_size = -1;  // columns per scale; -1: one per row. Must divide columns.
  bool mse_clip = false;    // shrink the range to p times itself, p = 1 - i/100, i = 0..79, where that lowers
                            // sum |error|^2.4 (the larger p of equals)
  at::ScalarType scale_dtype = at::kFloat;  // float, bfloat16 or half: what the model stores

  bool enabled() const { return bits < 16; }
};

/// Scale and zero point per row and group, fp32 [rows, groups]. Every scale is a finite positive number of
/// scale_dtype, every zero an integer below 2^21 in magnitude.
///
/// symmetric:  scale = max|w| / (2^(b-1) - 1), codes -2^(b-1)..2^(b-1)-1; max|w| is taken as 1e-5 at least.
/// asymmetric: scale = (max - min) / (2^b - 1), zero = round(-min / scale), codes 0..2^b-1; max - min is 1e-5
/// at least. One scale per row: the range holds 0. Groups: the range is the group's own, so the zero point
/// may lie outside 0..2^b-1, except for a group that is constant to within rounding, whose range holds 0. A
/// group of zeros has the range [-1, 1]. The clip search has no least range. Scales are rounded to
/// scale_dtype before zero points, codes and errors are computed from them.
struct QuantParams {
  at::Tensor scale;
  at::Tensor zero;
};

/// w = scale[:, g] (code - zero[:, g]) with g the group of the column.
struct QuantizedWeight {
  at::Tensor codes;  // [rows, columns] int8, or int16 where int8 is too small (asymmetric 8 bit)
  at::Tensor scale;  // [rows, groups] scale_dtype
  at::Tensor zero;   // [rows, groups] fp32 integers
};

/// Smallest and largest code.
struct CodeRange {
  int low;
  int high;
};
CodeRange code_range(const WeightQuantSpec& spec);
at::ScalarType code_dtype(const WeightQuantSpec& spec);

/// Throws Error naming `name` unless spec can quantize `columns` columns (bits 2..8).
void check_spec(const WeightQuantSpec& spec, int64_t columns, std::string_view name);

/// No NaN, no infinity. One pass.
bool all_finite(const at::Tensor& t);

/// fp32 contiguous copy or view of a matrix of float, bfloat16 or half. Throws Error naming `name` for
/// another dtype or shape, and for the first NaN or infinity with its row and column.
at::Tensor finite_matrix(const at::Tensor& weight, std::string_view name);

/// Scale and zero point of one group of n values.
struct GroupParams {
  float scale;
  float zero;
};
/// Values must be finite. The scale is infinite where it overflows scale_dtype: see check_scales.
GroupParams find_group_params(const float* w, int64_t n, const WeightQuantSpec& spec);

/// Throws Error naming `name` unless all scales are finite.
void check_scales(const at::Tensor& scale, const WeightQuantSpec& spec, std::string_view name);

/// Ranges of every row and group of `weight` (float, bfloat16 or half). Errors as check_spec, finite_matrix,
/// check_scales.
QuantParams find_params(const at::Tensor& weight, const WeightQuantSpec& spec, std::string_view name);

/// Codes nearest to `weight`, half to even; `params` as find_params gives them for this shape.
QuantizedWeight quantize(const at::Tensor& weight, const QuantParams& params, const WeightQuantSpec& spec,
                         std::string_view name);

/// find_params and quantize: round to nearest (RTN).
QuantizedWeight quantize_rtn(const at::Tensor& weight, const WeightQuantSpec& spec, std::string_view name);

/// scale (code - zero), computed in fp32, returned in `dtype` [rows, columns]. `group_index` int64 [columns]
/// gives each column's group; undefined: groups of columns / groups neighbours.
at::Tensor dequantize(const QuantizedWeight& quantized, const at::Tensor& group_index, at::ScalarType dtype);

}  // namespace spq::ptq
