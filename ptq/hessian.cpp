#include "ptq/hessian.h"

#include <ATen/ops/argsort.h>
#include <ATen/ops/flip.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linalg_cholesky_ex.h>
#include <ATen/ops/linalg_solve_triangular.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "dist/collectives.h"
#include "ptq/weight_quantizer.h"

namespace spq::ptq {
namespace {

constexpr double kLargestPercdamp = 1.0;
constexpr double kFirstPercdamp = 1e-4;  // when none was asked for and it turns out to be needed
constexpr int64_t kPanel = 512;          // wide enough for products at full speed

at::Tensor block(const at::Tensor& m, int64_t row, int64_t row_end, int64_t column, int64_t column_end) {
  return m.narrow(0, row, row_end - row).narrow(1, column, column_end - column);
}

// Calls body(begin, end) for panels of columns, in order.
template <class Body>
void for_panels(int64_t columns, const Body& body) {
  for (int64_t begin = 0; begin < columns; begin += kPanel) body(begin, std::min(begin + kPanel, columns));
}

// The same from the last panel to the first.
template <class Body>
void for_panels_backwards(int64_t columns, const Body& body) {
  for (int64_t end = columns; end > 0; end = (end - 1) / kPanel * kPanel) {
    body((end - 1) / kPanel * kPanel, end);
  }
}

// columns begin..end of m, rows above end: minus m r^T over the columns after end.
void subtract_later_columns(const at::Tensor& m, const at::Tensor& r, int64_t begin, int64_t end) {
  const int64_t n = r.size(1);
  if (end == n) return;
  block(m, 0, end, begin, end).addmm_(block(m, 0, end, end, n), block(r, begin, end, end, n).t(), 1, -1);
}

// x <- x r^-T with r upper triangular.
void divide_by_transpose(const at::Tensor& x, const at::Tensor& r) {
  if (x.size(0) > 0) x.copy_(at::linalg_solve_triangular(r.t(), x, /*upper=*/false, /*left=*/false));
}

// Replaces the upper triangle of the symmetric h by that of R, h = R R^T: Cholesky from the last column to
// the first. Panel by panel, because a library's factorisation runs at a fraction of its products' speed.
// False when h is not positive definite; h is spoilt then.
bool factor_upper(const at::Tensor& h) {
  bool ok = true;
  for_panels_backwards(h.size(0), [&](int64_t begin, int64_t end) {
    if (!ok) return;
    subtract_later_columns(h, h, begin, end);
    const at::Tensor corner = block(h, begin, end, begin, end);
    const auto [lower, info] = at::linalg_cholesky_ex(at::flip(corner, {0, 1}));
    ok = info.item<int>() == 0;
    corner.copy_(at::flip(lower, {0, 1}));
    if (ok) divide_by_transpose(block(h, 0, begin, begin, end), corner);
  });
  return ok;
}

// Replaces what is above the diagonal of m by that of m r^-T; below it stays what nobody reads.
void divide_upper(const at::Tensor& m, const at::Tensor& r) {
  for_panels_backwards(m.size(0), [&](int64_t begin, int64_t end) {
    subtract_later_columns(m, r, begin, end);
    divide_by_transpose(block(m, 0, end, begin, end), block(r, begin, end, begin, end));
  });
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
  return matrix.index_select(0, permutation).index_select(1, permutation);
}

// R of the damped Hessian, in the order of quantization; sets percdamp and damping_raised.
at::Tensor damped_factor(const at::Tensor& hessian, double percdamp, HessianFactor& factor,
                         std::string_view name) {
  const double mean = hessian.diagonal().masked_fill(factor.dead, 1).mean().item<double>();
  for (factor.percdamp = percdamp;; ++factor.damping_raised) {
    const at::Tensor h = hessian.clone();
    h.diagonal().masked_fill_(factor.dead, 1).add_(factor.percdamp * mean);
    const at::Tensor r = factor.permutation.defined() ? permuted(h, factor.permutation) : h;
    if (factor_upper(r)) return r;
    const double next = factor.percdamp > 0 ? 10 * factor.percdamp : kFirstPercdamp;
    check(next <= kLargestPercdamp * (1 + 1e-9),
          "{}: the Hessian is not positive definite with percdamp {} (raised {} times); mean of its diagonal "
          "{}",
          name, factor.percdamp, factor.damping_raised, mean);
    factor.percdamp = next;
  }
}

}  // namespace

MomentAccumulator::MomentAccumulator(int64_t columns, bool with_cross, at::ScalarType dtype,
                                     c10::Device device) {
  SPQ_ASSERT(dtype == at::kFloat || dtype == at::kDouble);
  const at::TensorOptions options = at::TensorOptions(dtype).device(device);
  sums_.hessian = at::zeros({columns, columns}, options);
  if (with_cross) sums_.cross = at::zeros({columns, columns}, options);
}

void MomentAccumulator::add(const at::Tensor& x, const at::Tensor& x_fp, int64_t num_samples) {
  const int64_t columns = sums_.hessian.size(0);
  SPQ_ASSERT(x.dim() == 2 && x.size(1) == columns && num_samples > 0);
  SPQ_ASSERT(x_fp.defined() == sums_.cross.defined());
  // Products in the accumulator's dtype: bf16 products would lose the small eigenvalues.
  const at::Tensor wide = x.to(sums_.hessian.scalar_type());
  for_panels(columns, [&](int64_t begin, int64_t end) {
    block(sums_.hessian, begin, end, begin, columns)
        .addmm_(wide.narrow(1, begin, end - begin).t(), wide.narrow(1, begin, columns - begin));
  });
  if (x_fp.defined()) {
    SPQ_ASSERT(x_fp.sizes() == x.sizes());
    sums_.cross.addmm_(x_fp.to(wide.scalar_type()).sub(wide).t(), wide);
  }
  sums_.num_samples += num_samples;
}

InputMoments MomentAccumulator::finish(dist::Communicator& comm, std::string_view name) {
  InputMoments result = std::move(sums_);
  sums_ = {};
  result.hessian = result.hessian.cpu();
  if (result.cross.defined()) result.cross = result.cross.cpu();
  at::Tensor count = at::full({1}, static_cast<double>(result.num_samples), at::kDouble);
  dist::all_reduce_sum(comm, count);
  result.num_samples = static_cast<int64_t>(count.item<double>());
  check(result.num_samples > 0, "{}: no calibration samples", name);
  const double factor = 2.0 / static_cast<double>(result.num_samples);
  const int64_t columns = result.hessian.size(0);
  for_panels(columns, [&](int64_t begin, int64_t end) {
    const at::Tensor panel = block(result.hessian, begin, end, begin, columns);
    at::Tensor sum = panel.mul(factor);
    dist::all_reduce_sum(comm, sum);
    const at::Tensor corner = sum.narrow(1, 0, end - begin);  // symmetric but for rounding
    corner.copy_(corner.triu().add_(corner.triu(1).t()));
    panel.copy_(sum);
    block(result.hessian, end, columns, begin, end).copy_(sum.narrow(1, end - begin, columns - end).t());
  });
  if (result.cross.defined()) {
    dist::all_reduce_sum(comm, result.cross);
    result.cross.mul_(factor);
    check(all_finite(result.cross), "{}: calibration inputs are not finite", name);
  }
  check(all_finite(result.hessian), "{}: calibration inputs are not finite", name);
  return result;
}

HessianFactor factor_hessian(const InputMoments& moments, const FactorOptions& options,
                             std::string_view name) {
  check_inputs(moments, options, name);
  HessianFactor factor;
  factor.dead = moments.hessian.diagonal().eq(0);
  if (options.act_order) {
    factor.permutation = moments.hessian.diagonal()
                             .masked_fill(factor.dead, 1)
                             .argsort(
                                 /*stable=*/true, 0, /*descending=*/true);
  }
  const at::Tensor r = damped_factor(moments.hessian, options.percdamp, factor, name);
  const at::Tensor pivots = r.diagonal().clone();
  if (options.alpha > 0) {
    at::Tensor cross = moments.cross.masked_fill(factor.dead, 0);
    if (factor.permutation.defined()) cross = permuted(cross, factor.permutation);
    divide_upper(cross, r);
    factor.correction = cross.mul_(pivots.reciprocal().mul_(options.alpha)).to(at::kFloat);
  }
  factor.feedback = r.div_(pivots).to(at::kFloat);
  return factor;
}

}  // namespace spq::ptq
