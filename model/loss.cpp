#include "model/loss.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <numeric>

#include "kernels/cross_entropy.h"
#include "model/device.h"
#include "model/norm.h"
#include "model/product.h"
#include "model/rows.h"

namespace spq::model {
namespace {

// losses[r] for each row of logits [rows, vocab], which become their gradient unless grad_scale is 0.
void cross_entropy(const at::Tensor& logits, const at::Tensor& targets, const at::Tensor& losses,
                   double grad_scale) {
  const int64_t rows = logits.size(0);
  const int64_t vocab = logits.size(1);
  const int64_t* target_ids = row_data<int64_t>(targets);
  double* loss = row_data<double>(losses);
  if (const auto target = block_target(logits)) {
    return dispatch_block_dtype(logits.scalar_type(), [&]<class T>(T*) {
      kernels::blocks::cross_entropy_rows<T>(*target, row_data<T>(logits), target_ids, loss, rows, vocab,
                                             grad_scale);
    });
  }
  dispatch_dtype(logits.scalar_type(), [&]<class T>(T*) {
    T* x = row_data<T>(logits);
    for_rows(rows, vocab, [&](int64_t begin, int64_t end) {
      kernels::cross_entropy_rows(x + begin * vocab, target_ids + begin, loss + begin, end - begin, vocab,
                                  grad_scale);
    });
  });
}

// Losses of some predictions; overwrites `grad` [n, d] with grad_scale (softmax - onehot) head when it is
// defined. `logits` [n, vocab] is scratch: first the logits, then their gradient.
void chunk_loss(const at::Tensor& normed, const at::Tensor& targets, const at::Tensor& head,
                double grad_scale, at::Tensor logits, const at::Tensor& losses, at::Tensor grad) {
  product_out(logits, normed, head.t());
  cross_entropy(logits, targets, losses, grad.defined() ? grad_scale : 0);
  if (grad.defined()) product_out(grad, logits, head);
}

}  // namespace

double LossResult::loss_sum() const {
  if (!losses.defined()) return 0;
  const at::Tensor here = losses.cpu();
  const int64_t length = here.size(1);
  const double* sequence = row_data<double>(here);
  double sum = 0;
  for (int64_t b = 0; b < here.size(0); ++b, sequence += length) {
    for (int64_t begin = 0; begin < length; begin += chunk_tokens) {
      sum += std::accumulate(sequence + begin, sequence + std::min(begin + chunk_tokens, length), 0.0);
    }
  }
  return sum;
}

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
  // Not waited for: the copy is made before anything that reads it on the device.
  const at::Tensor targets = ids.contiguous().to(h.device(), at::kLong, /*non_blocking=*/true);
  result.losses = at::empty({batch, length - 1}, h.options().dtype(at::kDouble));
  result.chunk_tokens = chunk_tokens;
  for (int64_t b = 0; b < batch; ++b) {
    for (int64_t begin = 0; begin < length - 1; begin += chunk_tokens) {
      const int64_t count = std::min(chunk_tokens, length - 1 - begin);
      const at::Tensor grad = grad_scale != 0 ? grad_normed[b].narrow(0, begin, count) : at::Tensor();
      chunk_loss(normed[b].narrow(0, begin, count), targets[b].narrow(0, begin + 1, count), head, grad_scale,
                 logits.narrow(0, 0, count), result.losses[b].narrow(0, begin, count), grad);
    }
  }
  if (grad_scale != 0) {
    result.grad = at::zeros_like(h);
    rms_norm_backward_add(h, grad_normed.view({-1, d}), result.grad, rms_norm_eps);
  }
  return result;
}

}  // namespace spq::model
