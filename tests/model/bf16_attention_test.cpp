// The gradient of attention from MKL's products against its formula in double, and against LibTorch's kernel.
#include "model/bf16_attention.h"

#include <ATen/Parallel.h>
#include <ATen/ops/_scaled_dot_product_flash_attention_for_cpu_backward.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/softmax.h>
#include <c10/util/ThreadLocalDebugInfo.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <memory>
#include <vector>

#include "model/bf16_product.h"
#include "tests/support/allocation_counter.h"

namespace spq::model {
namespace {

struct Case {
  AttentionShape shape;
  double size = 1;  // of queries and keys: the larger, the closer the probabilities are to 0 and 1
};

// Around the ends of blocks and tiles; a head for each of keys, four and all.
std::vector<Case> cases() {
  std::vector<Case> all;
  for (int64_t length : {1, 5, 128, 129, 257, 512}) {
    all.push_back({{2, length, 8, 2, 64}});
    all.push_back({{1, length, 3, 3, 128}});
    all.push_back({{2, length, 4, 1, 128}});
  }
  all.push_back({{1, 300, 7, 1, 40}});   // blocks of 252 rows
  all.push_back({{1, 300, 300, 1, 8}});  // more heads than rows in a block
  all.push_back({{1, 512, 8, 2, 128}, 6});
  return all;
}

struct Inputs {
  at::Tensor q, k, v, grad;
};

Inputs inputs_of(const Case& c) {
  const AttentionShape& s = c.shape;
  const int64_t tokens = s.batch * s.length;
  const auto random = [tokens](int64_t heads, int64_t dim, double size) {
    return at::randn({tokens, heads, dim}, at::kFloat).mul_(size).to(at::kBFloat16);
  };
  return {random(s.heads, s.head_dim, c.size), random(s.kv_heads, s.head_dim, c.size),
          random(s.kv_heads, s.head_dim, 1), random(s.heads, s.head_dim, 1).view({tokens, -1})};
}

// [tokens, heads, head_dim] -> [batch, all heads, length, head_dim]
at::Tensor spread(const at::Tensor& x, const AttentionShape& s) {
  const at::Tensor by_head = x.view({s.batch, s.length, -1, s.head_dim}).transpose(1, 2);
  return by_head.repeat_interleave(s.heads / by_head.size(1), 1);
}

// The reverse, summed over the heads that share one of `heads`.
at::Tensor gathered(const at::Tensor& x, int64_t heads, const AttentionShape& s) {
  return x.reshape({s.batch, heads, s.heads / heads, s.length, s.head_dim})
      .sum(2)
      .transpose(1, 2)
      .reshape({s.batch * s.length, heads, s.head_dim});
}

AttentionGradients by_formula(const Inputs& in, const AttentionShape& s) {
  const auto wide = [&s](const at::Tensor& x) { return spread(x, s).to(at::kDouble); };
  const at::Tensor q = wide(in.q), k = wide(in.k), v = wide(in.v), grad = wide(in.grad);
  const double scale = 1.0 / std::sqrt(static_cast<double>(s.head_dim));
  const at::Tensor hidden = at::ones({s.length, s.length}, at::kBool).triu(1);
  const at::Tensor scores = q.matmul(k.mT()).mul(scale);
  const at::Tensor p =
      at::softmax(scores.masked_fill(hidden, -std::numeric_limits<double>::infinity()), /*dim=*/-1);
  const at::Tensor dp = grad.matmul(v.mT());
  const at::Tensor ds = p.mul(dp.sub(dp.mul(p).sum(-1, /*keepdim=*/true))).mul(scale);
  return {gathered(ds.matmul(k), s.heads, s), gathered(ds.mT().matmul(q), s.kv_heads, s),
          gathered(p.mT().matmul(grad), s.kv_heads, s)};
}

AttentionGradients by_libtorch(const Inputs& in, const AttentionResult& forward, const AttentionShape& s) {
  const auto [dq, dk, dv] = at::_scaled_dot_product_flash_attention_for_cpu_backward(
      spread(in.grad, s), spread(in.q, s), spread(in.k, s), spread(in.v, s), spread(forward.out, s),
      forward.logsumexp, /*dropout_p=*/0.0, /*is_causal=*/true);
  return {gathered(dq, s.heads, s), gathered(dk, s.kv_heads, s), gathered(dv, s.kv_heads, s)};
}

double distance(const at::Tensor& a, const at::Tensor& b) {
  return a.to(at::kDouble).sub(b).norm().item<double>();
}

TEST(Bf16Attention, IsAsCloseToTheFormulaAsLibTorchsKernel) {
  if (!multiplies_bf16()) GTEST_SKIP() << "no native bf16 products here";
  at::manual_seed(1);
  for (const Case& c : cases()) {
    const AttentionShape& s = c.shape;
    const Inputs in = inputs_of(c);
    const AttentionResult forward = attention(in.q, in.k, in.v, s);
    const AttentionGradients ours = bf16_attention_backward(in.grad, in.q, in.k, in.v, forward, s);
    const AttentionGradients theirs = by_libtorch(in, forward, s), exact = by_formula(in, s);
    const auto check = [&](const char* name, const at::Tensor& a, const at::Tensor& b, const at::Tensor& x) {
      ASSERT_EQ(a.sizes(), x.sizes());
      const double error = distance(a, x), size = x.norm().item<double>();
      // Of a single token's queries and keys the gradients are 0.
      const double rounding = 1e-6 * in.grad.to(at::kDouble).norm().item<double>();
      EXPECT_LE(error, 1.1 * distance(b, x) + rounding) << name << ", length " << s.length;
      EXPECT_LE(error, 8e-3 * size + rounding) << name << ", length " << s.length;
    };
    check("q", ours.q, theirs.q, exact.q);
    check("k", ours.k, theirs.k, exact.k);
    check("v", ours.v, theirs.v, exact.v);
  }
}

// at::set_num_threads for as long as it lives.
class Threads {
 public:
  explicit Threads(int n) : before_(at::get_num_threads()) { at::set_num_threads(n); }
  ~Threads() { at::set_num_threads(before_); }

 private:
  int before_;
};

AttentionGradients with_threads(int threads, const Inputs& in, const AttentionResult& forward,
                                const AttentionShape& s) {
  const Threads guard(threads);
  return attention_backward(in.grad, in.q, in.k, in.v, forward, s);
}

bool same_bits(const AttentionGradients& a, const AttentionGradients& b) {
  return a.q.equal(b.q) && a.k.equal(b.k) && a.v.equal(b.v);
}

TEST(Bf16Attention, GivesTheSameBitsOnAnyNumberOfThreadsUpToThatOfKeyHeads) {
  if (!multiplies_bf16()) GTEST_SKIP() << "no native bf16 products here";
  for (const AttentionShape& s : {AttentionShape{2, 300, 8, 2, 64}, AttentionShape{1, 513, 4, 4, 128}}) {
    const Inputs in = inputs_of({s});
    const AttentionResult forward = attention(in.q, in.k, in.v, s);
    const AttentionGradients one = with_threads(1, in, forward, s);
    for (int threads : {1, 2, 3, 4}) EXPECT_TRUE(same_bits(one, with_threads(threads, in, forward, s)));
  }
}

// More threads than key/value heads: the same bits from run to run, and what one thread finds but for the
// order of sums.
TEST(Bf16Attention, SharesTheQueryHeadsOfAKeyHeadBetweenThreads) {
  if (!multiplies_bf16()) GTEST_SKIP() << "no native bf16 products here";
  const AttentionShape s{1, 300, 12, 2, 64};
  const Inputs in = inputs_of({s});
  const AttentionResult forward = attention(in.q, in.k, in.v, s);
  const AttentionGradients one = with_threads(1, in, forward, s);
  for (int threads : {3, 5, 7, 40}) {
    const AttentionGradients many = with_threads(threads, in, forward, s);
    EXPECT_TRUE(same_bits(many, with_threads(threads, in, forward, s)));
    EXPECT_LE(distance(many.q, one.q.to(at::kDouble)), 3e-3 * one.q.norm().item<double>());
    EXPECT_LE(distance(many.k, one.k.to(at::kDouble)), 3e-3 * one.k.norm().item<double>());
    EXPECT_LE(distance(many.v, one.v.to(at::kDouble)), 3e-3 * one.v.norm().item<double>());
  }
}

TEST(Bf16Attention, TakesTheScratchItSays) {
  if (!multiplies_bf16()) GTEST_SKIP() << "no native bf16 products here";
  for (const AttentionShape& s : {AttentionShape{1, 300, 12, 2, 64}, AttentionShape{2, 40, 3, 3, 24}}) {
    const Inputs in = inputs_of({s});
    const AttentionResult forward = attention(in.q, in.k, in.v, s);
    for (int threads : {1, 2, 5, 40}) {
      auto counter = std::make_shared<test::AllocationCounter>();
      const c10::DebugInfoGuard counting(c10::DebugInfoKind::PROFILER_STATE, counter);
      with_threads(threads, in, forward, s);
      const auto results = static_cast<int64_t>(in.q.nbytes() + in.k.nbytes() + in.v.nbytes());
      EXPECT_EQ(counter->peak(), results + bf16_attention_scratch(s, threads)) << threads << " threads";
    }
  }
}

TEST(Bf16Attention, LeavesOtherDtypesToLibTorch) {
  EXPECT_FALSE(has_bf16_attention(at::ones({1, 1, 8}, at::kFloat)));
  EXPECT_FALSE(has_bf16_attention(at::ones({1, 1, 8}, at::kHalf)));
  EXPECT_EQ(has_bf16_attention(at::ones({1, 1, 8}, at::kBFloat16)), multiplies_bf16());
}

}  // namespace
}  // namespace spq::model
