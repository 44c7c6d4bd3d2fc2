// RMSNorm on tensors.
#pragma once

#include <ATen/core/Tensor.h>

namespace spq::model {

/// x [rows, d] -> x / rms(x); no weight (folded into the projections).
at::Tensor rms_norm(const at::Tensor& x, double eps);

/// dx += gradient of rms_norm at x for dy.
void rms_norm_backward_add(const at::Tensor& x, const at::Tensor& dy, at::Tensor& dx, double eps);

}  // namespace spq::model
