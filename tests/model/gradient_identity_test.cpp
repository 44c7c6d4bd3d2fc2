// The gradient identity of design.md 3 in double precision: moments collected in the unrotated network
// against automatic differentiation through a network whose weights are really rotated. The reference below
// shares no code with the model.
#include <ATen/ops/amax.h>
#include <ATen/ops/amin.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/clamp.h>
#include <ATen/ops/cos.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/full.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/maximum.h>
#include <ATen/ops/mean.h>
#include <ATen/ops/minimum.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/pow.h>
#include <ATen/ops/round.h>
#include <ATen/ops/rsqrt.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/sin.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/triu.h>
#include <ATen/ops/zeros_like.h>
#include <gtest/gtest.h>

#include <cmath>

#include "core/error.h"
#include "model/network.h"
#include "model/rotation_start.h"
#include "tests/support/golden.h"
#include "tests/support/resident_weights.h"

namespace spq::model {
namespace {

// Straight-through fake quantization of the last dimension, in groups, scales constant: the published
// definition.
at::Tensor quantize(const at::Tensor& x, const kernels::QuantSpec& spec) {
  if (!spec.enabled()) return x;
  const int64_t n = x.size(-1);
  const int64_t group = spec.group_size > 0 ? spec.group_size : n;
  const at::Tensor v = x.detach().reshape({-1, group});
  at::Tensor low = v.amin(1, true), high = v.amax(1, true), code, y;
  if (spec.symmetric) {
    const double half = std::pow(2.0, spec.bits - 1) - 1;
    const at::Tensor scale = at::maximum(low.neg(), high).mul(spec.clip_ratio / half);
    y = at::clamp(at::round(v.div(scale)), -half - 1, half).mul(scale);
  } else {
    if (spec.range_includes_zero) {
      low = at::minimum(low, at::zeros_like(low));
      high = at::maximum(high, at::zeros_like(high));
    }
    const double levels = std::pow(2.0, spec.bits) - 1;
    const at::Tensor scale = high.sub(low).mul(spec.clip_ratio / levels);
    const at::Tensor zero = at::round(low.mul(-spec.clip_ratio).div(scale));
    y = at::clamp(at::round(v.div(scale)).add(zero), 0, levels).sub(zero).mul(scale);
  }
  return x.add(y.view(x.sizes()).sub(x.detach()));
}

// Transform rows by a dense orthonormal matrix equal to the Hadamard frame: H applied to each row.
at::Tensor hadamard_matrix(int64_t n) {
  return Frame(kernels::plan_hadamard(n)).enter(at::eye(n, at::kDouble));  // row i: H e_i, so x -> x * matrix
}

at::Tensor rms(const at::Tensor& h, double eps) {
  return h.mul(at::rsqrt(h.pow(2).mean(-1, true).add(eps)));
}

struct Reference {
  const data::LlamaConfig& c;
  const test::TensorMap& t;
  const QuantScheme& q;
  at::Tensor r1;
  std::vector<at::Tensor> r2;
  at::Tensor r3, r4;

  at::Tensor weight(int64_t l, const std::string& name) const {
    return t.at(fmt::format("model.layers.{}.{}.weight", l, name));
  }
  // Rows of each head of w [heads * hd, n] rotated: head block B becomes R2^T B.
  at::Tensor rotate_heads(const at::Tensor& w, const at::Tensor& r) const {
    return at::matmul(r.t(), w.view({-1, c.head_dim, w.size(1)})).reshape(w.sizes());
  }
  at::Tensor rope(const at::Tensor& x) const {  // [B, heads, S, hd]
    const int64_t half = c.head_dim / 2;
    const at::Tensor inv =
        at::arange(half, at::kDouble).mul(-2.0 / double(c.head_dim)).mul(std::log(c.rope.theta)).exp();
    const at::Tensor angle = at::arange(x.size(2), at::kDouble).unsqueeze(1).mul(inv);
    const at::Tensor cos = at::cos(angle), sin = at::sin(angle);
    const at::Tensor a = x.narrow(-1, 0, half), b = x.narrow(-1, half, half);
    return at::cat({a.mul(cos).sub(b.mul(sin)), b.mul(cos).add(a.mul(sin))}, -1);
  }
  at::Tensor attention(const at::Tensor& x, int64_t l, const at::Tensor& gamma) const {
    const int64_t batch = x.size(0), length = x.size(1), hd = c.head_dim;
    const at::Tensor& r = r2[static_cast<size_t>(l)];
    const auto project = [&](const at::Tensor& w, int64_t heads) {
      return at::matmul(x, w.t()).view({batch, length, heads, hd}).transpose(1, 2);
    };
    const auto in = [&](const char* name) { return weight(l, name).mul(gamma).matmul(r1); };
    const at::Tensor query = at::matmul(rope(project(in("self_attn.q_proj"), c.num_heads)), r3);
    const at::Tensor key =
        quantize(at::matmul(rope(project(in("self_attn.k_proj"), c.num_kv_heads)), r3), q.key);
    const at::Tensor value =
        quantize(project(rotate_heads(in("self_attn.v_proj"), r), c.num_kv_heads), q.value);
    const int64_t repeat = c.num_heads / c.num_kv_heads;
    const at::Tensor scores =
        at::matmul(query, key.repeat_interleave(repeat, 1).transpose(2, 3)).div(std::sqrt(double(hd)));
    const at::Tensor mask = at::triu(at::full({length, length}, -1e300, at::kDouble), 1);
    const at::Tensor out = at::matmul(at::softmax(scores.add(mask), -1), value.repeat_interleave(repeat, 1));
    const at::Tensor a = quantize(out.transpose(1, 2), q.attention_output).reshape({batch, length, -1});
    // o: R1^T W, then R2 on each head's columns.
    const at::Tensor o = rotate_heads(r1.t().matmul(weight(l, "self_attn.o_proj")).t().contiguous(), r);
    return at::matmul(a, o);
  }
  at::Tensor mlp(const at::Tensor& x, int64_t l, const at::Tensor& gamma) const {
    const at::Tensor gate = at::matmul(x, weight(l, "mlp.gate_proj").mul(gamma).matmul(r1).t());
    const at::Tensor up = at::matmul(x, weight(l, "mlp.up_proj").mul(gamma).matmul(r1).t());
    const at::Tensor d = quantize(at::matmul(gate.mul(at::sigmoid(gate)).mul(up), r4), q.down_input);
    return at::matmul(d, r1.t().matmul(weight(l, "mlp.down_proj")).matmul(r4).t());
  }
  at::Tensor loss(const at::Tensor& ids) const {
    at::Tensor h = t.at("model.embed_tokens.weight").index_select(0, ids.reshape({-1})).matmul(r1);
    h = h.view({ids.size(0), ids.size(1), -1});
    for (int64_t l = 0; l < c.num_layers; ++l) {
      const at::Tensor g1 = weight(l, "input_layernorm"), g2 = weight(l, "post_attention_layernorm");
      h = h.add(attention(quantize(rms(h, c.rms_norm_eps), q.residual_input), l, g1));
      h = h.add(mlp(quantize(rms(h, c.rms_norm_eps), q.residual_input), l, g2));
    }
    const at::Tensor head = t.at("lm_head.weight").mul(t.at("model.norm.weight"));
    const at::Tensor logits = rms(h, c.rms_norm_eps).matmul(r1.t()).matmul(head.t());
    const at::Tensor log_p = at::log_softmax(logits.narrow(1, 0, ids.size(1) - 1), -1);
    return log_p.gather(2, ids.narrow(1, 1, ids.size(1) - 1).unsqueeze(2)).mean().neg();
  }
};

data::LlamaConfig small_config(int64_t heads, int64_t kv_heads, int64_t head_dim) {
  data::LlamaConfig c;
  c.hidden_size = 24;
  c.intermediate_size = 40;
  c.num_layers = 3;
  c.num_heads = heads;
  c.num_kv_heads = kv_heads;
  c.head_dim = head_dim;
  c.vocab_size = 50;
  c.max_position = 64;
  c.rms_norm_eps = 1e-5;
  return c;
}

QuantScheme scheme(int a_bits, int k_bits, int v_bits) {
  QuantScheme s;
  s.residual_input = s.down_input = {a_bits, false, -1, true, 1.0};
  s.attention_output = {a_bits, false, -1, false, 1.0};
  s.key = {k_bits, false, -1, true, 1.0};
  s.value = {v_bits, false, -1, false, 1.0};
  return s;
}

void expect_identity(const data::LlamaConfig& c, const QuantScheme& q, const std::string& what) {
  const test::TensorMap tensors = test::random_model(c, 7);
  data::Rotations r;
  r.r1 = random_orthogonal(c.hidden_size, 3, 0).to(at::kDouble);
  r.r1 = at::matmul(r.r1, at::eye(c.hidden_size, at::kDouble).mul(3).sub(r.r1.t().matmul(r.r1))).mul(0.5);
  for (int64_t l = 0; l < c.num_layers; ++l) {
    at::Tensor x = random_orthogonal(c.head_dim, 3, 1 + l).to(at::kDouble);
    r.r2.push_back(at::matmul(x, at::eye(c.head_dim, at::kDouble).mul(3).sub(x.t().matmul(x))).mul(0.5));
  }
  const at::Tensor ids = at::arange(2 * 13, at::kLong).mul(17).add(5).remainder(c.vocab_size).view({2, 13});

  Network network;
  network.config = c;
  network.scheme = q;
  network.frames = NetworkFrames(c, r, {}, at::kDouble);
  network.rope = make_rope_table(c, 13, at::kDouble);
  network.loss_chunk = 5;
  test::ResidentWeights weights(c, tensors, at::kDouble);
  const test::LossAndMoments found = test::loss_and_moments(network, weights, ids, at::kDouble);

  Reference reference{c,
                      tensors,
                      q,
                      r.r1.clone().requires_grad_(true),
                      {},
                      hadamard_matrix(c.head_dim),
                      hadamard_matrix(c.intermediate_size)};
  for (const at::Tensor& x : r.r2) reference.r2.push_back(x.clone().requires_grad_(true));
  const at::Tensor loss = reference.loss(ids);
  loss.backward();
  EXPECT_NEAR(found.loss, loss.item<double>(), 1e-12) << what;
  const bool quantized = q.residual_input.enabled() || q.value.enabled();
  const auto expect = [&](const at::Tensor& moment, const at::Tensor& rotation, bool has_points,
                          const std::string& name) {
    const at::Tensor expected = test::skew(rotation.grad().matmul(rotation.detach().t()));
    if (has_points) {
      EXPECT_GT(expected.norm().item<double>(), 1e-6) << what << name;
      EXPECT_LE(test::relative_error(test::skew(moment), expected), 1e-12) << what << name;
    } else {  // nothing is quantized behind this rotation: its gradient has no tangential part
      EXPECT_LE(expected.norm().item<double>(), 1e-13) << what << name;
      EXPECT_EQ(moment.norm().item<double>(), 0.0) << what << name;
    }
  };
  expect(found.r1, reference.r1, q.residual_input.enabled(), " R1");
  for (size_t l = 0; l < found.r2.size(); ++l) expect(found.r2[l], reference.r2[l], quantized, " R2");
}

TEST(GradientIdentity, HoldsWithActivationsKeysAndValuesOnAndOff) {
  const data::LlamaConfig c = small_config(4, 2, 8);
  for (int a : {4, 16}) {
    for (int k : {4, 16}) {
      for (int v : {4, 16}) expect_identity(c, scheme(a, k, v), fmt::format("A{} K{} V{}", a, k, v));
    }
  }
}

TEST(GradientIdentity, HoldsForMultiHeadGroupedAndSingleKeyValueHead) {
  expect_identity(small_config(4, 4, 6), scheme(4, 4, 4), "MHA");
  expect_identity(small_config(4, 1, 8), scheme(3, 3, 3), "one kv head");
  expect_identity(small_config(6, 2, 10), scheme(4, 4, 4), "head_dim times heads != hidden");
}

TEST(GradientIdentity, HoldsForSymmetricGroupedAndClippedQuantizers) {
  QuantScheme q = scheme(4, 4, 4);
  q.residual_input = q.down_input = {4, true, 8, false, 0.9};
  q.attention_output = {4, true, -1, false, 0.95};
  q.key = {4, true, 4, false, 0.8};
  q.value = {5, false, 4, false, 0.9};
  expect_identity(small_config(4, 2, 8), q, "symmetric grouped");
}

}  // namespace
}  // namespace spq::model
