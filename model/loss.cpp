#include "model/loss.h"

#include <ATen/ops/empty_like.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>

#include "model/norm.h"
#include "model/rows.h"

namespace spq::model {
namespace {

// Loss of some predictions; overwrites `grad` [n, d] with grad_scale (softmax - onehot) head when it is
// defined.
double chunk_loss(const at::Tensor& normed, const at::Tensor& targets, const at::Tensor& head,
                  double grad_scale, at::Tensor grad) {
  const auto dtype = accumulate_dtype(normed.scalar_type());
  at::Tensor log_p = at::log_softmax(at::mm(normed, head.t()), /*dim=*/-1, dtype);
  const at::Tensor index = targets.unsqueeze(1);
  const double loss = -log_p.gather(1, index).sum(at::kDouble).item<double>();
  if (grad.defined()) {
    at::Tensor p = log_p.exp_();
    p.scatter_add_(1, index, at::zeros(index.sizes(), p.options()).sub_(1));
    at::mm_out(grad, p.mul_(grad_scale).to(normed.scalar_type()), head);
  }
  return loss;
}

}  // namespace

LossResult next_token_loss(const at::Tensor& h, const at::Tensor& ids, const at::Tensor& head,
                           double rms_norm_eps, int64_t chunk_tokens, double grad_scale) {
  const int64_t batch = ids.size(0);
  const int64_t length = ids.size(1);
  const int64_t d = h.size(1);
  LossResult result;
  const at::Tensor normed = rms_norm(h, rms_norm_eps).view({batch, length, d});
  at::Tensor grad_normed;
  if (grad_scale != 0) grad_normed = at::zeros_like(normed);
  for (int64_t b = 0; b < batch; ++b) {
    for (int64_t begin = 0; begin < length - 1; begin += chunk_tokens) {
      const int64_t count = std::min(chunk_tokens, length - 1 - begin);
      const at::Tensor grad = grad_scale != 0 ? grad_normed[b].narrow(0, begin, count) : at::Tensor();
      result.loss_sum += chunk_loss(normed[b].narrow(0, begin, count), ids[b].narrow(0, begin + 1, count),
                                    head, grad_scale, grad);
      result.predictions += count;
    }
  }
  if (grad_scale != 0) {
    result.grad = at::zeros_like(h);
    rms_norm_backward_add(h, grad_normed.view({-1, d}), result.grad, rms_norm_eps);
  }
  return result;
}

}  // namespace spq::model
