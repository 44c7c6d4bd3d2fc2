#include "model/loss.h"

#include <ATen/ops/empty.h>

#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/rsqrt.h>
#include <gtest/gtest.h>

#include "model/rotation_start.h"
#include "tests/support/golden.h"

namespace spq::model {
namespace {

struct Problem {
  at::Tensor h = random_orthogonal(64, 1, 0).narrow(0, 0, 26).to(at::kDouble).mul(3);  // 2 sequences of 13
  at::Tensor head = random_orthogonal(64, 2, 0).narrow(0, 0, 50).to(at::kDouble).mul(4);
  at::Tensor ids = at::empty({2, 13}, at::kLong);
  Problem() {
    for (int64_t i = 0; i < 26; ++i) ids.view({-1})[i] = (i * 19 + 3) % 50;
  }
};

TEST(NextTokenLoss, EqualsPlainCrossEntropyAndItsGradient) {
  const Problem p;
  const at::Tensor h = p.h.clone().requires_grad_(true);
  const at::Tensor normed = h.mul(at::rsqrt(h.pow(2).mean(-1, true).add(1e-5)));
  const at::Tensor logits = normed.mm(p.head.t()).view({2, 13, 50}).narrow(1, 0, 12).reshape({24, 50});
  const at::Tensor loss = at::cross_entropy_loss(logits, p.ids.narrow(1, 1, 12).reshape({24}), {}, /*sum*/ 2);
  loss.mul(0.125).backward();
  const LossResult found =
      next_token_loss(p.h, p.ids, p.head, 1e-5, /*chunk_tokens=*/5, /*grad_scale=*/0.125);
  EXPECT_EQ(found.predictions(), 24);
  EXPECT_NEAR(found.loss_sum(), loss.item<double>(), 1e-11);
  EXPECT_LE(test::relative_error(found.grad, h.grad()), 1e-13);
}

TEST(NextTokenLoss, DoesNotDependOnTheChunk) {
  const Problem p;
  const LossResult whole = next_token_loss(p.h, p.ids, p.head, 1e-5, 1000, 1.0);
  for (int64_t chunk : {1, 4, 12}) {
    const LossResult found = next_token_loss(p.h, p.ids, p.head, 1e-5, chunk, 1.0);
    EXPECT_NEAR(found.loss_sum(), whole.loss_sum(), 1e-12);
    EXPECT_LE(test::relative_error(found.grad, whole.grad), 1e-13) << chunk;
  }
}

TEST(NextTokenLoss, HasNoGradientWhenNoneIsAskedFor) {
  const Problem p;
  EXPECT_FALSE(next_token_loss(p.h, p.ids, p.head, 1e-5, 5, 0.0).grad.defined());
}

}  // namespace
}  // namespace spq::model
