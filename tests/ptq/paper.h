// GPTQ and GPTAQ in double precision straight from the papers' equations: no Cholesky factor, no blocks. The
// inverse of the Hessian of the columns that are still free is computed anew for every column.
#pragma once

#include <ATen/core/Tensor.h>

#include "ptq/weight_quantizer.h"

namespace spq::ptq::testing {

struct PaperOptions {
  double percdamp = 0.01;
  double alpha = 0;
  bool act_order = false;
  bool static_groups = false;
};

struct PaperResult {
  at::Tensor codes;    // int64 [rows, columns]
  at::Tensor weight;   // double [rows, columns]
  at::Tensor margins;  // double [rows]: least distance from a rounding boundary, in steps
};

/// cross may be undefined when alpha is 0. No clip search, scales not rounded, no dead columns.
PaperResult paper_gptq(const at::Tensor& weight, const at::Tensor& hessian, const at::Tensor& cross,
                       const WeightQuantSpec& spec, const PaperOptions& options);

}  // namespace spq::ptq::testing
