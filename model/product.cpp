#include "model/product.h"

#include <ATen/ops/addmm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/mm.h>

#include <algorithm>

#include "model/bf16_product.h"

namespace spq::model {
namespace {

constexpr int64_t kRowsForPlain = 512;
constexpr int64_t kRowsForTransposed = 1024;

bool is_faster(const Term& term) {
  return multiplies_in_bf16(term.x, term.w) &&
         term.x.size(0) >= (term.w.is_contiguous() ? kRowsForPlain : kRowsForTransposed);
}

// out = start + sum x_i w_i, by MKL if that is faster for each term.
bool sum_apart(const at::Tensor& out, const at::Tensor& start, std::initializer_list<Term> terms) {
  if (!std::all_of(terms.begin(), terms.end(), is_faster)) return false;
  const at::Tensor sum = at::empty(out.sizes(), out.options().dtype(at::kFloat));
  if (start.defined()) sum.copy_(start);
  bool add = start.defined();
  for (const Term& term : terms) {
    bf16_product(sum, term.x, term.w, add);
    add = true;
  }
  out.copy_(sum);
  return true;
}

}  // namespace

void product_out(const at::Tensor& out, const at::Tensor& x, const at::Tensor& w) {
  if (sum_apart(out, {}, {{x, w}})) return;
  at::Tensor result = out;
  at::mm_out(result, x, w);
}

at::Tensor product(const at::Tensor& x, const at::Tensor& w) {
  at::Tensor result = at::empty({x.size(0), w.size(1)}, x.options());
  product_out(result, x, w);
  return result;
}

at::Tensor product_sum(const at::Tensor& start, std::initializer_list<Term> terms) {
  const Term& first = *terms.begin();
  at::Tensor result = at::empty({first.x.size(0), first.w.size(1)}, first.x.options());
  if (sum_apart(result, start, terms)) return result;
  at::Tensor sum = start;
  for (const Term& term : terms) {
    if (!sum.defined()) {
      at::mm_out(result, term.x, term.w);
    } else {
      at::addmm_out(result, sum, term.x, term.w);
    }
    sum = result;
  }
  return result;
}

bool product_sums_apart(int64_t rows) {
  return multiplies_bf16() && rows >= kRowsForPlain;
}

}  // namespace spq::model
