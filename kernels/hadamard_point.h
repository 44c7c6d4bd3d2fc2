// The quantization point behind a Hadamard transform, for the sizes that models have: the fast path of
// hadamard_quant_rows.
#pragma once

#include <cstdint>

#include "kernels/hadamard.h"
#include "kernels/isa.h"

namespace spq::kernels {

/// Whether hadamard_point_rows can do it: every group a whole block, and segments that fill vectors.
bool is_fast_point(const HadamardPlan& plan, const QuantSpec& spec);

/// hadamard_quant_rows for rows of x [rows, plan.n], at a level that best_isa() allows: the same bits on
/// every level. T: float or bfloat16.
template <class T>
void hadamard_point_rows(Isa isa, const T* x, T* x_hat, T* error, int64_t rows, const HadamardPlan& plan,
                         const QuantSpec& spec);

}  // namespace spq::kernels
