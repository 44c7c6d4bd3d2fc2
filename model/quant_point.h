// A quantization point: a tensor replaced by its quantized self, seen through a rotation.
#pragma once

#include <ATen/core/Tensor.h>

#include "kernels/fake_quant.h"
#include "model/frame.h"

namespace spq::model {

/// x_hat = Q(x R) R^T and e = x_hat - x, in the frame and dtype of x (design.md 3). `error` is undefined
/// where nothing is quantized; x_hat is x itself then. Behind a one-way frame x_hat = Q(x R) and e = x_hat -
/// x R stay in the entered basis, and x_hat = x R where nothing is quantized: that e is no rotation's moment.
struct PointResult {
  at::Tensor x_hat;
  at::Tensor error;
};

/// Passes rows x [..., n] through the quantizer `spec` behind `frame`. The error is rotated back, not x: what
/// rounding R to bf16 costs is then relative to e, not to x.
PointResult quantize_point(const at::Tensor& x, const Frame& frame, const kernels::QuantSpec& spec);

/// x_hat of quantize_point, for points from which no rotation learns. May overwrite x, which the caller gives
/// up.
at::Tensor quantize_values(at::Tensor x, const Frame& frame, const kernels::QuantSpec& spec);

/// quantize_point(rms_norm(x, eps), frame, spec); without a rotation in one pass that stores no normalised
/// rows.
PointResult quantize_normed(const at::Tensor& x, double eps, const Frame& frame,
                            const kernels::QuantSpec& spec);

/// M += sum over rows of g^T e, the only thing a learned rotation needs from a point. g, e [..., n]; M [n, n]
/// in the accumulator dtype (fp32, or double for double). Nothing happens where e is undefined. bf16 rows are
/// multiplied as they are and summed in fp32 (model/bf16_product.h).
void accumulate_moment(at::Tensor& moment, const at::Tensor& gradient, const at::Tensor& error);

}  // namespace spq::model
