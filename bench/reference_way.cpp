#include "bench/reference_way.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/clamp.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/round.h>
#include <ATen/ops/rsqrt.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/silu.h>
#include <torch/csrc/autograd/custom_function.h>

#include "kernels/hadamard.h"
#include "model/frame.h"
#include "model/rows.h"

namespace spq::bench {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::tensor_list;

// Asymmetric quantization of groups of a row; the gradient passes unchanged.
class FakeQuant : public torch::autograd::Function<FakeQuant> {
 public:
  static at::Tensor forward(AutogradContext*, const at::Tensor& x, int64_t bits, int64_t group,
                            bool includes_zero) {
    const at::Tensor rows = x.reshape({-1, group});
    at::Tensor low = rows.amin(1, /*keepdim=*/true);
    at::Tensor high = rows.amax(1, /*keepdim=*/true);
    if (includes_zero) {
      low = low.clamp_max(0);
      high = high.clamp_min(0);
    }
    const double levels = static_cast<double>((1 << bits) - 1);
    const at::Tensor scale = (high - low) / levels;
    const at::Tensor zero = at::round(-low / scale);
    const at::Tensor codes = at::clamp(at::round(rows / scale) + zero, 0, levels);
    return (scale * (codes - zero)).view(x.sizes());
  }
  static tensor_list backward(AutogradContext*, const tensor_list& grad) { return {grad[0], {}, {}, {}}; }
};

class Hadamard : public torch::autograd::Function<Hadamard> {
 public:
  static at::Tensor forward(AutogradContext*, const at::Tensor& x) {
    return model::Frame(kernels::plan_hadamard(x.size(-1))).enter(x.contiguous());
  }
  static tensor_list backward(AutogradContext*, const tensor_list& grad) {
    return {model::Frame(kernels::plan_hadamard(grad[0].size(-1))).leave(grad[0].contiguous())};
  }
};

at::Tensor quantize(const at::Tensor& x, const kernels::QuantSpec& spec) {
  const int64_t group = spec.group_size > 0 ? spec.group_size : x.size(-1);
  return FakeQuant::apply(x, int64_t{spec.bits}, group, spec.range_includes_zero);
}

at::Tensor rms_norm(const at::Tensor& x, double eps) {
  const at::Tensor wide = x.to(model::accumulate_dtype(x.scalar_type()));
  return (wide * at::rsqrt(wide.square().mean(-1, /*keepdim=*/true) + eps)).to(x.scalar_type());
}

// W R1 of a projection that reads the residual stream, in fp64.
at::Tensor rotate_inputs(const at::Tensor& w, const at::Tensor& r1) {
  return at::mm(w.to(at::kDouble), r1);
}

// R1^T W of one that writes it.
at::Tensor rotate_outputs(const at::Tensor& w, const at::Tensor& r1) {
  return at::mm(r1.t(), w.to(at::kDouble));
}

}  // namespace

ReferenceLayer::ReferenceLayer(const model::LayerContext& context, const model::LayerWeights& w)
    : context_(context) {
  const model::Frame r4(kernels::plan_hadamard(context.config->intermediate_size));
  weights_ = {w.q, w.k, w.v, w.o_t.t().contiguous(), w.gate, w.up, r4.enter(w.down_t.t().contiguous())};
  const auto dtype = w.q.scalar_type();
  cos_ = at::cat({context.rope->cos, context.rope->cos}, 1).to(dtype);
  sin_ = at::cat({-context.rope->sin, context.rope->sin}, 1).to(dtype);
}

ReferenceLayer::Rotated ReferenceLayer::rotate(const at::Tensor& rotation1,
                                               const at::Tensor& rotation2) const {
  const at::Tensor r1 = rotation1.to(at::kDouble);
  const at::Tensor r2 = rotation2.to(at::kDouble);
  const int64_t d = r1.size(0);
  const int64_t head_dim = r2.size(0);
  const auto dtype = weights_.q.scalar_type();
  const at::Tensor v = rotate_inputs(weights_.v, r1).view({-1, head_dim, d});
  const at::Tensor o = rotate_outputs(weights_.o, r1).view({d, -1, head_dim});
  return {rotate_inputs(weights_.q, r1).to(dtype),          rotate_inputs(weights_.k, r1).to(dtype),
          at::matmul(r2.t(), v).reshape({-1, d}).to(dtype), at::matmul(o, r2).reshape({d, -1}).to(dtype),
          rotate_inputs(weights_.gate, r1).to(dtype),       rotate_inputs(weights_.up, r1).to(dtype),
          rotate_outputs(weights_.down, r1).to(dtype)};
}

at::Tensor ReferenceLayer::attention(const at::Tensor& x, const Rotated& w) const {
  const data::LlamaConfig& c = *context_.config;
  const model::QuantScheme& scheme = *context_.scheme;
  const auto by_head = [&](const at::Tensor& t) {
    return t.view({context_.batch, context_.length, -1, c.head_dim}).transpose(1, 2);
  };
  const auto rope = [&](const at::Tensor& t) {
    const int64_t half = c.head_dim / 2;
    const at::Tensor swapped = at::cat({t.narrow(-1, half, half), t.narrow(-1, 0, half)}, -1);
    return t * cos_ + swapped * sin_;
  };
  const auto repeat = [&](const at::Tensor& t) {
    const int64_t times = c.num_heads / c.num_kv_heads;
    return t.unsqueeze(2)
        .expand({context_.batch, c.num_kv_heads, times, context_.length, c.head_dim})
        .reshape({context_.batch, c.num_heads, context_.length, c.head_dim});
  };
  const at::Tensor q = Hadamard::apply(rope(by_head(at::linear(x, w.q))));
  const at::Tensor k = quantize(Hadamard::apply(rope(by_head(at::linear(x, w.k)))), scheme.key);
  const at::Tensor v = quantize(by_head(at::linear(x, w.v)), scheme.value);
  const at::Tensor out = at::scaled_dot_product_attention(q, repeat(k), repeat(v), {}, /*dropout_p=*/0.0,
                                                          /*is_causal=*/true);
  const at::Tensor rows = out.transpose(1, 2).reshape({x.size(0), c.num_heads, c.head_dim});
  return at::linear(quantize(rows, scheme.attention_output).view({x.size(0), -1}), w.o);
}

at::Tensor ReferenceLayer::forward(const at::Tensor& h, const at::Tensor& r1, const at::Tensor& r2) const {
  const double eps = context_.config->rms_norm_eps;
  const model::QuantScheme& scheme = *context_.scheme;
  const Rotated w = rotate(r1, r2);
  const at::Tensor residual = h + attention(quantize(rms_norm(h, eps), scheme.residual_input), w);
  const at::Tensor x = quantize(rms_norm(residual, eps), scheme.residual_input);
  const at::Tensor product = at::silu(at::linear(x, w.gate)) * at::linear(x, w.up);
  return residual + at::linear(quantize(Hadamard::apply(product), scheme.down_input), w.down);
}

}  // namespace spq::bench
