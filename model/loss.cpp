#include "model/loss.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <numeric>
#include <vector>

#include "kernels/cross_entropy.h"
#include "model/norm.h"
#include "model/rows.h"

namespace spq::model {
namespace {

// Loss of some predictions; overwrites `grad` [n, d] with grad_scale (softmax - onehot) head when it is
// defined. `logits` [n, vocab] is scratch: first the logits, then their gradient.
double chunk_loss(const at::Tensor& normed, const at::Tensor& targets, const at::Tensor& head,
                  double grad_scale, at::Tensor logits, at::Tensor grad) {
  at::mm_out(logits, normed, head.t());
  const int64_t rows = logits.size(0);
  const int64_t vocab = logits.size(1);
  const int64_t* target = targets.data_ptr<int64_t>();
  std::vector<double> losses(static_cast<size_t>(rows));
  dispatch_dtype(logits.scalar_type(), [&]<class T>(T*) {
    T* x = row_data<T>(logits);
    for_rows(rows, vocab, [&](int64_t begin, int64_t end) {
      kernels::cross_entropy_rows(x + begin * vocab, target + begin, losses.data() + begin, end - begin,
                                  vocab, grad.defined() ? grad_scale : 0);
    });
  });
  if (grad.defined()) at::mm_out(grad, logits, head);
  return std::accumulate(losses.begin(), losses.end(), 0.0);
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
  const int64_t vocab = head.size(0);
  const at::Tensor logits = at::empty({std::min(chunk_tokens, length - 1), vocab}, normed.options());
  const at::Tensor targets = ids.contiguous();
  for (int64_t b = 0; b < batch; ++b) {
    for (int64_t begin = 0; begin < length - 1; begin += chunk_tokens) {
      const int64_t count = std::min(chunk_tokens, length - 1 - begin);
      const at::Tensor grad = grad_scale != 0 ? grad_normed[b].narrow(0, begin, count) : at::Tensor();
      result.loss_sum += chunk_loss(normed[b].narrow(0, begin, count), targets[b].narrow(0, begin + 1, count),
                                    head, grad_scale, logits.narrow(0, 0, count), grad);
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
