// What GPTQ and GPTAQ need to know about the inputs of a matrix: their second moments and the factors of
// these.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string_view>

#include "dist/communicator.h"

namespace spq::ptq {

/// Second moments of the inputs x of a matrix over n calibration samples (sequences), [columns, columns].
struct InputMoments {
  at::Tensor hessian;  // H = 2/n sum x^T x, exactly symmetric
  at::Tensor cross;    // 2/n sum (x_fp - x)^T x with x_fp the inputs in the unquantized network; or undefined
  int64_t num_samples = 0;
};

/// Sums moments; each rank adds its own samples. Memory: one or two matrices [columns, columns] of `dtype`.
class MomentAccumulator {
 public:
  /// dtype: float or double. with_cross: for GPTAQ. `device`: of the inputs, and where their moments are
  /// summed.
  MomentAccumulator(int64_t columns, bool with_cross, at::ScalarType dtype, c10::Device device = at::kCPU);

  /// Adds num_samples sequences of tokens: x [tokens, columns], any floating dtype; x_fp as x when
  /// with_cross, undefined otherwise.
  void add(const at::Tensor& x, const at::Tensor& x_fp, int64_t num_samples);

  /// Moments over the samples of all ranks: a collective; every rank receives the same bits, in host memory.
  /// The accumulator is spent. Throws Error naming `name`, on every rank, when there is no sample or a moment
  /// is not finite.
  InputMoments finish(dist::Communicator& comm, std::string_view name);

 private:
  InputMoments sums_;  // of the hessian only panels on and right of the diagonal are summed
};

struct FactorOptions {
  double percdamp = 0.01;  // 0..1: times the mean of diag(H), added to diag(H)
  bool act_order = false;  // quantize columns in the order of descending diag(H)
  double alpha = 0;        // weight of GPTAQ's correction; 0: GPTQ
};

/// Everything of the moments that quantizing rows takes; matrices with the same input share it. Rows and
/// columns of `feedback` and `correction` are in the order in which columns are quantized; only their
/// entries above the diagonal mean something.
///
/// With H + damping = R R^T, R upper triangular, a column that is quantized after the columns k to q_k had,
/// just before, the value that minimises the loss over all columns that were still free:
///   v_j = w_j + sum over k < j of (w_k - q_k) feedback_kj + v_k correction_kj
/// The inverse of H, from which the papers take the same value, is not needed.
struct HessianFactor {
  at::Tensor feedback;     // R_kj / R_jj, fp32 [columns, columns]
  at::Tensor correction;   // alpha (cross R^-T)_kj / R_jj, fp32 [columns, columns]; undefined for GPTQ
  at::Tensor permutation;  // int64 [columns]: the k-th column quantized; undefined: in order
  at::Tensor dead;         // bool [columns], original order: H_ii = 0, the input is never active
  double percdamp = 0;     // as used
  int damping_raised = 0;  // how often it was multiplied by 10 until the Cholesky factor existed
};

/// Factors the moments in their own dtype. A dead column has H_ii = 1 and no cross term. When H + damping is
/// not positive definite, damping is raised tenfold (from 1e-4 when percdamp is 0) as long as it is at most
/// 1 mean of the diagonal. Throws Error naming `name` when that does not help, when H is not finite, when
/// alpha is set and there is no cross term, and for options out of range.
HessianFactor factor_hessian(const InputMoments& moments, const FactorOptions& options,
                             std::string_view name);

}  // namespace spq::ptq
