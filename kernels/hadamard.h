// Orthonormal Hadamard transforms of rows, for every size a LLaMA has.
#pragma once

#include <cstdint>

#include "kernels/fake_quant.h"

namespace spq::kernels {

/// How a row of n values is transformed: n / block independent blocks, each by (H_factor kron S_m) /
/// sqrt(block) with block = factor * m, S_m the Sylvester matrix of a power of two m in natural order and
/// H_factor one of the matrices of hadamard_factors.h (1: none). As QuaRot and SpinQuant do: the first of 172
/// 156 140 108 60 52 36 28 44 40 20 12 that leaves a power of two. Sizes without such a factor become
/// block-diagonal, with the largest block that has one.
struct HadamardPlan {
  int64_t n;
  int64_t block;
  int64_t factor;
};

/// Error when n < 1.
HadamardPlan plan_hadamard(int64_t n);

enum class HadamardDirection { kForward, kInverse };  // y = H x  |  y = H^T x = H^-1 x

/// Transforms every row of x [rows, plan.n] into y (x == y allowed). bf16 is computed in fp32. May be called
/// on parts of the rows from several threads.
template <class T>
void hadamard_rows(const T* x, T* y, int64_t rows, const HadamardPlan& plan, HadamardDirection direction);

/// A quantization point seen through the transform, in one pass over rows that stay in cache:
/// error = H^T (Q(H x) - H x), rounded to T once, and x_hat = x + error. Groups of `spec` are of H x. Either
/// output may be null, or x itself.
template <class T>
void hadamard_quant_rows(const T* x, T* x_hat, T* error, int64_t rows, const HadamardPlan& plan,
                         const QuantSpec& spec);

}  // namespace spq::kernels
