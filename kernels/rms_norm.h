// RMSNorm without its weight (folded into the next projections at load time) and its gradient.
#pragma once

#include <cstdint>

#include "kernels/fake_quant.h"

namespace spq::kernels {

/// y = x / sqrt(mean(x^2) + eps) for every row of x [rows, cols] (Zhang and Sennrich, arXiv 1910.07467, eq.
/// 4). bf16 is computed in fp32. y may be x.
template <class T>
void rms_norm(const T* x, T* y, int64_t rows, int64_t cols, double eps);

/// rms_norm and fake_quant_rows of its result in one pass over each row: the same bits, without storing y.
/// Either output may be null, or x itself where a group is a row.
template <class T>
void rms_norm_quant(const T* x, T* x_hat, T* error, int64_t rows, int64_t cols, double eps,
                    const QuantSpec& spec);

/// dx += dL/dx for dy = dL/dy:  r (dy - y mean(dy y)), r = 1 / sqrt(mean(x^2) + eps), y = r x.
template <class T>
void rms_norm_backward_add(const T* x, const T* dy, T* dx, int64_t rows, int64_t cols, double eps);

}  // namespace spq::kernels
