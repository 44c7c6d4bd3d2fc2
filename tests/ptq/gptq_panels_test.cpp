// Matrices wider than a panel, against the published formulation: the upper Cholesky factor of the inverse
// Hessian, one column after the other, all in double precision.
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linalg_cholesky.h>
#include <ATen/ops/linalg_inv.h>
#include <ATen/ops/minimum.h>
#include <ATen/ops/mm.h>
#include <gtest/gtest.h>

#include "ptq/gptq.h"
#include "tests/ptq/problem.h"

namespace spq::ptq {
namespace {

struct Published {
  at::Tensor codes;    // double [rows, columns]
  at::Tensor margins;  // double [rows]: least distance from a rounding boundary, in steps
};

// u: upper, damped Hessian^-1 = u^T u. correction: alpha striu(cross u^T) u.
Published published(const testing::Problem& p, const at::Tensor& u, const at::Tensor& correction,
                    const WeightQuantSpec& spec) {
  const int64_t columns = p.weight.size(1);
  const int64_t length = spec.group_size > 0 ? spec.group_size : columns;
  at::Tensor w = p.weight.to(at::kDouble);
  Published result{at::empty({w.size(0), columns}, at::kDouble), at::full({w.size(0)}, 0.5, at::kDouble)};
  at::Tensor scale, zero;
  for (int64_t j = 0; j < columns; ++j) {
    if (j % length == 0) {
      const QuantParams found = find_params(w.narrow(1, j, length).to(at::kFloat), spec, "group");
      scale = found.scale.select(1, 0).to(at::kDouble);
      zero = found.zero.select(1, 0).to(at::kDouble);
    }
    const CodeRange range = code_range(spec);
    const at::Tensor value = w.select(1, j).clone();
    const at::Tensor v = value.div(scale);
    const at::Tensor code = v.round().add(zero).clamp(range.low, range.high);
    const at::Tensor clipped = v.add(zero).lt(range.low - 0.5).logical_or(v.add(zero).gt(range.high + 0.5));
    const at::Tensor gap = v.sub(v.floor()).sub(0.5).abs().masked_fill(clipped, 0.5);
    result.margins = at::minimum(result.margins, gap);
    result.codes.select(1, j).copy_(code);
    const at::Tensor error = value.sub(code.sub(zero).mul(scale)).div(u[j][j]);
    w.addr_(error, u[j], 1, -1);
    w.addr_(value, correction[j]);  // strictly upper: columns before j are not read again
  }
  return result;
}

TEST(GptqPanels, GiveTheCodesOfThePublishedFormulation) {
  const int64_t columns = 1152;  // three panels
  const testing::Problem p = testing::random_problem(40, columns, 2 * columns, 40);
  const InputMoments moments = testing::moments_of(p.x, p.x_fp, at::kDouble);
  at::Tensor h = moments.hessian.clone();
  h.diagonal().add_(h.diagonal().mean().mul(0.01));
  const at::Tensor u = at::linalg_cholesky(at::linalg_inv(h), /*upper=*/true);
  const at::Tensor correction = at::mm(at::mm(moments.cross, u.t()).triu(1), u);
  for (bool symmetric : {true, false}) {
    for (int64_t group : {-1, 64, 384}) {  // 384: longer than a block, no divisor of a panel
      for (double alpha : {0.0, 0.25}) {
        const WeightQuantSpec spec{4, symmetric, group, false, at::kFloat};
        const Published expected = published(p, u, correction.mul(alpha), spec);
        const GptqResult found = testing::solve(p.weight, moments, spec, {0.01, false, alpha});
        const at::Tensor rows = expected.margins.gt(2e-5).nonzero().squeeze(1);
        EXPECT_GE(4 * rows.numel(), expected.margins.numel()) << "too few rows to compare";
        EXPECT_EQ(testing::rows_that_differ(found.quantized.codes.index_select(0, rows),
                                            expected.codes.index_select(0, rows)),
                  0)
            << "group " << group << " symmetric " << symmetric << " alpha " << alpha;
      }
    }
  }
}

}  // namespace
}  // namespace spq::ptq
