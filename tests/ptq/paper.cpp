#include "tests/ptq/paper.h"

#include <ATen/ops/argsort.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linalg_inv.h>
#include <ATen/ops/maximum.h>
#include <ATen/ops/minimum.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/zeros_like.h>

namespace spq::ptq::testing {
namespace {

// Scale and zero point of every row of `values` [rows, n], as columns [rows, 1].
struct Params {
  at::Tensor scale, zero;
};

Params range_of(const at::Tensor& values, const WeightQuantSpec& spec) {
  at::Tensor low = values.amin(1, true);
  at::Tensor high = values.amax(1, true);
  if (spec.symmetric) {
    const at::Tensor scale = at::maximum(low.neg(), high).div((1 << (spec.bits - 1)) - 1);
    return {scale, at::zeros_like(scale)};
  }
  if (spec.group_size < 0) {
    low = low.clamp_max(0);
    high = high.clamp_min(0);
  }
  const at::Tensor scale = high.sub(low).div((1 << spec.bits) - 1);
  return {scale, low.neg().div(scale).round()};
}

// The problem in the order of quantization.
struct Ordered {
  at::Tensor weight, hessian, cross, order;
};

Ordered in_order(const at::Tensor& weight, const at::Tensor& hessian, const at::Tensor& cross,
                 const PaperOptions& options) {
  Ordered o{weight.to(at::kDouble).clone(), hessian.to(at::kDouble).clone(), {}, {}};
  o.hessian.diagonal().add_(options.percdamp * o.hessian.diagonal().mean().item<double>());
  const at::Tensor diagonal = hessian.to(at::kDouble).diagonal();
  o.order = at::argsort(options.act_order ? diagonal.neg() : at::zeros_like(diagonal), true, 0, false);
  o.weight = o.weight.index_select(1, o.order);
  o.hessian = o.hessian.index_select(0, o.order).index_select(1, o.order);
  if (cross.defined()) o.cross = cross.to(at::kDouble).index_select(0, o.order).index_select(1, o.order);
  return o;
}

// One column [rows, 1] to the nearest level; margins shrink to the distance from the nearest boundary.
at::Tensor round_column(const at::Tensor& w, const Params& p, const WeightQuantSpec& spec,
                        const at::Tensor& codes, at::Tensor& margins) {
  const CodeRange range = code_range(spec);
  const at::Tensor v = w.div(p.scale);
  codes.copy_(v.round().add(p.zero).clamp(range.low, range.high));
  const at::Tensor inside = v.add(p.zero).gt(range.low - 0.5).logical_and(v.add(p.zero).lt(range.high + 0.5));
  const at::Tensor gap = v.sub(v.floor()).sub(0.5).abs();
  margins = at::minimum(margins, gap.masked_fill(inside.logical_not(), 0.5));
  return codes.sub(p.zero).mul(p.scale);
}

}  // namespace

PaperResult paper_gptq(const at::Tensor& weight, const at::Tensor& hessian, const at::Tensor& cross,
                       const WeightQuantSpec& spec, const PaperOptions& options) {
  Ordered o = in_order(weight, hessian, options.alpha > 0 ? cross : at::Tensor(), options);
  const at::Tensor original = weight.to(at::kDouble);
  const int64_t columns = weight.size(1);
  const int64_t length = spec.group_size > 0 ? spec.group_size : columns;
  at::Tensor codes = at::empty_like(o.weight);
  at::Tensor quantized = at::empty_like(o.weight);
  at::Tensor margins = at::full({weight.size(0), 1}, 0.5, at::kDouble);
  Params p;
  for (int64_t j = 0; j < columns; ++j) {
    const int64_t column = o.order[j].item<int64_t>();
    if (spec.group_size < 0) {
      if (j == 0) p = range_of(original, spec);
    } else if (options.static_groups) {
      p = range_of(original.narrow(1, column / length * length, length), spec);
    } else if (j % length == 0) {
      p = range_of(o.weight.narrow(1, j, length), spec);
    }
    const at::Tensor w = o.weight.narrow(1, j, 1).clone();
    const at::Tensor q = round_column(w, p, spec, codes.narrow(1, j, 1), margins);
    quantized.narrow(1, j, 1).copy_(q);
    const int64_t rest = columns - j - 1;
    if (rest == 0) break;
    const at::Tensor free_and_j = o.hessian.narrow(0, j, rest + 1).narrow(1, j, rest + 1);
    const at::Tensor inverse = at::linalg_inv(free_and_j);
    at::Tensor update = at::mm(w.sub(q).div(inverse[0][0]).neg(), inverse.narrow(0, 0, 1).narrow(1, 1, rest));
    if (o.cross.defined()) {
      const at::Tensor free_inverse = at::linalg_inv(free_and_j.narrow(0, 1, rest).narrow(1, 1, rest));
      const at::Tensor row = at::mm(o.cross.narrow(0, j, 1).narrow(1, j + 1, rest), free_inverse);
      update = update.add(at::mm(w, row), options.alpha);
    }
    o.weight.narrow(1, j + 1, rest).add_(update);
  }
  const at::Tensor back = o.order.argsort();
  return {codes.index_select(1, back).to(at::kLong), quantized.index_select(1, back), margins.squeeze(1)};
}

}  // namespace spq::ptq::testing
