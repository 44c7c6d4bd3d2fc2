#include "ptq/hessian.h"

#include <ATen/ops/argsort.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/flip.h>
#include <ATen/ops/full.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/linalg_cholesky_ex.h>
#include <ATen/ops/linalg_solve_triangular.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>

#include <cmath>

#include "core/error.h"
#include "dist/collectives.h"

namespace spq::ptq {
namespace {

constexpr double kLargestPercdamp = 1.0;
constexpr double kFirstPercdamp = 1e-4;  // when none was asked for and it turns out to be needed

bool all_finite(const at::Tensor& t) {
  return at::isfinite(t).all().item<bool>();
}

// U with h^-1 = U^T U, or undefined when h is not positive definite. One Cholesky factorisation of h with
// rows and columns reversed gives h = R R^T with R upper, and U = R^-1: the inverse of h is never formed.
at::Tensor upper_factor_of_inverse(const at::Tensor& h) {
  const auto [lower, info] = at::linalg_cholesky_ex(at::flip(h, {0, 1}));
  if (info.item<int>() != 0) return {};
  const at::Tensor eye = at::eye(h.size(0), h.options());
  at::Tensor upper = at::flip(at::linalg_solve_triangular(lower, eye, /*upper=*/false), {0, 1});
  return all_finite(upper) ? upper : at::Tensor();
}

void check_inputs(const InputMoments& moments, const FactorOptions& options, std::string_view name) {
  check(options.percdamp >= 0 && options.percdamp <= kLargestPercdamp, "{}: percdamp {}, expected 0 to {}",
        name, options.percdamp, kLargestPercdamp);
  check(options.alpha >= 0 && std::isfinite(options.alpha), "{}: alpha {}, expected 0 or more", name,
        options.alpha);
  check(options.alpha == 0 || moments.cross.defined(),
        "{}: alpha {} but the calibration collected no full-precision inputs", name, options.alpha);
  check(all_finite(moments.hessian), "{}: the Hessian of the calibration inputs is not finite", name);
  check(options.alpha == 0 || all_finite(moments.cross), "{}: the GPTAQ cross term is not finite", name);
}

at::Tensor permuted(const at::Tensor& matrix, const at::Tensor& permutation) {
  if (!permutation.defined()) return matrix;
  return matrix.index_select(0, permutation).index_select(1, permutation);
}

// Fills upper, percdamp and damping_raised from h, dead columns and order already seen to.
void factor_damped(const at::Tensor& h, double percdamp, HessianFactor& factor, std::string_view name) {
  const double mean = h.diagonal().mean().item<double>();
  for (factor.percdamp = percdamp;; ++factor.damping_raised) {
    at::Tensor damped = h.clone();
    damped.diagonal().add_(factor.percdamp * mean);
    factor.upper = upper_factor_of_inverse(damped);
    if (factor.upper.defined()) return;
    const double next = factor.percdamp > 0 ? 10 * factor.percdamp : kFirstPercdamp;
    check(next <= kLargestPercdamp * (1 + 1e-9),
          "{}: the Hessian is not positive definite with percdamp {} (raised {} times); mean of its diagonal "
          "{}",
          name, factor.percdamp, factor.damping_raised, mean);
    factor.percdamp = next;
  }
}

}  // namespace

MomentAccumulator::MomentAccumulator(int64_t columns, bool with_cross, at::ScalarType dtype) {
  SPQ_ASSERT(dtype == at::kFloat || dtype == at::kDouble);
  sums_.hessian = at::zeros({columns, columns}, dtype);
  if (with_cross) sums_.cross = at::zeros({columns, columns}, dtype);
}

void MomentAccumulator::add(const at::Tensor& x, const at::Tensor& x_fp, int64_t num_samples) {
  SPQ_ASSERT(x.dim() == 2 && x.size(1) == sums_.hessian.size(0) && num_samples > 0);
  SPQ_ASSERT(x_fp.defined() == sums_.cross.defined());
  // Products in the accumulator's dtype: bf16 products would lose the small eigenvalues.
  const at::Tensor wide = x.to(sums_.hessian.scalar_type());
  sums_.hessian.addmm_(wide.t(), wide);
  if (x_fp.defined()) {
    SPQ_ASSERT(x_fp.sizes() == x.sizes());
    sums_.cross.addmm_(x_fp.to(wide.scalar_type()).sub(wide).t(), wide);
  }
  sums_.num_samples += num_samples;
}

InputMoments MomentAccumulator::finish(dist::Communicator& comm, std::string_view name) {
  InputMoments result = std::move(sums_);
  sums_ = {};
  at::Tensor count = at::full({1}, static_cast<double>(result.num_samples), at::kDouble);
  dist::all_reduce_sum(comm, count);
  result.num_samples = static_cast<int64_t>(count.item<double>());
  check(result.num_samples > 0, "{}: no calibration samples", name);
  const double factor = 2.0 / static_cast<double>(result.num_samples);
  for (at::Tensor* t : {&result.hessian, &result.cross}) {
    if (!t->defined()) continue;
    dist::all_reduce_sum(comm, *t);
    t->mul_(factor);
    check(all_finite(*t), "{}: calibration inputs are not finite", name);
  }
  return result;
}

HessianFactor factor_hessian(const InputMoments& moments, const FactorOptions& options,
                             std::string_view name) {
  check_inputs(moments, options, name);
  HessianFactor factor;
  factor.dead = moments.hessian.diagonal().eq(0);
  at::Tensor h = moments.hessian.clone();
  h.diagonal().masked_fill_(factor.dead, 1);
  if (options.act_order) factor.permutation = h.diagonal().argsort(/*stable=*/true, 0, /*descending=*/true);
  factor_damped(permuted(h, factor.permutation), options.percdamp, factor, name);
  if (options.alpha > 0) {
    const at::Tensor cross = permuted(moments.cross.masked_fill(factor.dead, 0), factor.permutation);
    const at::Tensor above = at::mm(cross, factor.upper.t()).triu(1);
    factor.correction = at::mm(above, factor.upper).mul_(options.alpha).to(at::kFloat);
  }
  factor.upper = factor.upper.to(at::kFloat).contiguous();
  return factor;
}

}  // namespace spq::ptq
