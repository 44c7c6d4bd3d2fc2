// Matrices to quantize, and what a quantized one loses.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "ptq/gptq.h"
#include "ptq/hessian.h"
#include "ptq/weight_quantizer.h"

namespace spq::ptq::testing {

/// weight [rows, columns] fp32; x and x_fp [tokens, columns] fp32: correlated inputs as a quantized network
/// and as the full-precision network gives them.
struct Problem {
  at::Tensor weight;
  at::Tensor x;
  at::Tensor x_fp;
};
Problem random_problem(int64_t rows, int64_t columns, int64_t tokens, uint64_t seed);

/// Moments of x as one sample on one rank, with the cross term when x_fp is defined.
InputMoments moments_of(const at::Tensor& x, const at::Tensor& x_fp, at::ScalarType dtype = at::kFloat);

/// factor_hessian and quantize_gptq.
GptqResult solve(const at::Tensor& weight, const InputMoments& moments, const WeightQuantSpec& spec,
                 const FactorOptions& factor_options = {}, const GptqOptions& options = {});

/// trace((W - Q) H (W - Q)^T) in double.
double proxy_loss(const at::Tensor& weight, const at::Tensor& quantized, const at::Tensor& hessian);

/// ||X_fp W^T - X Q^T||^2 in double.
double output_loss(const Problem& problem, const at::Tensor& quantized);

/// How many rows of a and b differ anywhere, whatever their dtypes.
int64_t rows_that_differ(const at::Tensor& a, const at::Tensor& b);

}  // namespace spq::ptq::testing
