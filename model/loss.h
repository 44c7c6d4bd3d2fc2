// Next-token cross entropy, computed in chunks of tokens so that no tokens-by-vocabulary tensor is ever
// whole.
#pragma once

#include <ATen/core/Tensor.h>

namespace spq::model {

struct LossResult {
  double loss_sum = 0;      // over predictions, in nats
  int64_t predictions = 0;  // batch * (length - 1)
  at::Tensor grad;          // d(grad_scale * loss_sum)/dh [T, d]; undefined unless asked for
};

/// h [batch * length, d]: the last layer's output. ids int64 [batch, length]: position t predicts ids[t + 1].
/// head [vocab, d] with the final norm folded in. Logits are computed in h's dtype, the softmax in fp32
/// (double for double), in place: one tensor [chunk_tokens, vocab] in h's dtype is all the room it takes.
/// `grad_scale` 0: no gradient. Every id is less than vocab.
LossResult next_token_loss(const at::Tensor& h, const at::Tensor& ids, const at::Tensor& head,
                           double rms_norm_eps, int64_t chunk_tokens, double grad_scale);

}  // namespace spq::model
