// Next-token cross entropy, computed in chunks of tokens so that no tokens-by-vocabulary tensor is ever
// whole.
#pragma once

#include <ATen/core/Tensor.h>

namespace spq::model {

struct LossResult {
  at::Tensor losses;  // of each prediction, in nats: double [batch, length - 1], where h is; undefined:
                      // an empty batch
  int64_t chunk_tokens = 0;  // as they were computed
  at::Tensor grad;           // d(grad_scale * loss_sum)/dh [T, d]; undefined unless asked for

  /// Sum over the predictions, each chunk by itself first. Waits for a GPU that has not computed them yet.
  double loss_sum() const;
  int64_t predictions() const { return losses.defined() ? losses.numel() : 0; }
};

/// h [batch * length, d]: the last layer's output. ids int64 [batch, length], in host memory: position t
/// predicts ids[t + 1]. head [vocab, d] with the final norm folded in. Logits are computed in h's dtype, the
/// softmax in fp32 (double for double), in place: one tensor [chunk_tokens, vocab] in h's dtype is all the
/// room it takes. `grad_scale` 0: no gradient. Every id is less than vocab.
LossResult next_token_loss(const at::Tensor& h, const at::Tensor& ids, const at::Tensor& head,
                           double rms_norm_eps, int64_t chunk_tokens, double grad_scale);

}  // namespace spq::model
