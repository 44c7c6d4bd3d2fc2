// One step (forward and backward, no recompute) of a LLaMA-3-8B decoder layer with 4-bit activations, keys
// and values:
//   layer_step      against the matrix products that it cannot do without (bench/decoder_layer.h), in turn
//   with them published_way   against automatic differentiation through weights that are rotated in fp64
//   (bench/reference_way.h)
// Least of several repetitions. Counters in seconds unless their names say otherwise.
#include <ATen/TensorOperators.h>
#include <ATen/ops/mm.h>
#include <benchmark/benchmark.h>

#include <algorithm>
#include <string>

#include "bench/decoder_layer.h"
#include "bench/least_time.h"
#include "bench/reference_way.h"
#include "model/attention.h"
#include "model/norm.h"
#include "model/quant_point.h"
#include "model/swiglu.h"

namespace spq::bench {
namespace {

// Most that our gradient may differ from the published way's in fp64, relative to its largest entry.
constexpr double kAgreement = 1e-9;

at::Tensor forward_backward(DecoderLayer& layer) {
  model::LayerCache cache;
  model::layer_forward(layer.context(), layer.weights, layer.frames, layer.h, &cache);
  return model::layer_backward(layer.context(), layer.weights, cache, layer.grad_out, layer.moments);
}

struct ProductTimes {
  LeastTime forward, gradients, rotations, moments;

  void time(LayerProducts& products) {
    forward.time([&] { products.forward(); });
    gradients.time([&] { products.gradients(); });
    rotations.time([&] { products.rotations(); });
    moments.time([&] { products.moments(); });
  }
  double seconds() const {
    return forward.seconds() + gradients.seconds() + rotations.seconds() + moments.seconds();
  }
};

void layer_step(benchmark::State& state, at::ScalarType dtype) {
  DecoderLayer layer(llama3_8b(1), state.range(0), dtype);
  LayerProducts products(layer);
  ProductTimes product;
  LeastTime forward, backward;
  for (auto _ : state) {
    product.time(products);
    model::LayerCache cache;
    forward.time([&] {
      benchmark::DoNotOptimize(
          model::layer_forward(layer.context(), layer.weights, layer.frames, layer.h, &cache));
    });
    backward.time([&] {
      benchmark::DoNotOptimize(
          model::layer_backward(layer.context(), layer.weights, cache, layer.grad_out, layer.moments));
    });
  }
  const double step = forward.seconds() + backward.seconds();
  state.counters["ratio"] = step / product.seconds();
  state.counters["step"] = step;
  state.counters["forward"] = forward.seconds();
  state.counters["backward"] = backward.seconds();
  state.counters["products"] = product.seconds();
  state.counters["product_forward"] = product.forward.seconds();
  state.counters["product_gradients"] = product.gradients.seconds();
  state.counters["product_rotations"] = product.rotations.seconds();
  state.counters["product_moments"] = product.moments.seconds();
}

// What a step does beside its products, one thing at a time.
void layer_parts(benchmark::State& state, at::ScalarType dtype) {
  DecoderLayer layer(llama3_8b(1), state.range(0), dtype);
  LayerProducts products(layer);
  model::LayerCache cache;
  model::layer_forward(layer.context(), layer.weights, layer.frames, layer.h, &cache);
  const model::LayerContext context = layer.context();
  const data::LlamaConfig& c = layer.config;
  const model::AttentionShape shape{1, layer.tokens, c.num_heads, c.num_kv_heads, c.head_dim};
  const at::Tensor out = cache.attention.out;
  at::Tensor gradient = normal(layer.h.sizes(), dtype, /*seed=*/31);
  at::Tensor wide = normal(cache.gate.sizes(), dtype, /*seed=*/32);
  at::Tensor heads = cache.q.clone();
  at::Tensor kv = cache.k_hat.clone();
  LeastTime attention, attention_backward, rotations, points, key, down, rope, norm_backward, swiglu,
      swiglu_backward;
  for (auto _ : state) {
    attention.time([&] { model::attention(cache.q, cache.k_hat, cache.v_hat, shape); });
    attention_backward.time([&] {
      model::attention_backward(gradient, cache.q, cache.k_hat, cache.v_hat, cache.attention, shape);
    });
    rotations.time([&] { products.rotations(); });
    points.time([&] {
      model::qkv_input(context, layer.frames, layer.h);
      model::gate_up_input(context, layer.frames, cache.residual);
      model::quantize_point(kv, layer.frames.r2, layer.scheme.value);
      model::quantize_point(out.view_as(heads), layer.frames.r2, layer.scheme.attention_output);
    });
    key.time([&] { model::quantize_values(kv, layer.frames.r3, layer.scheme.key); });
    down.time([&] { model::quantize_values(wide, layer.frames.r4, layer.scheme.down_input); });
    rope.time([&] {
      for (const bool inverse : {false, true}) {
        model::apply_rope(heads, layer.rope, inverse);
        model::apply_rope(kv, layer.rope, inverse);
      }
    });
    norm_backward.time([&] {
      for (int norm = 0; norm < 2; ++norm) {
        model::rms_norm_backward_add(layer.h, layer.grad_out, gradient, c.rms_norm_eps);
      }
    });
    swiglu.time([&] { model::swiglu(cache.gate, cache.up); });
    swiglu_backward.time([&] { model::swiglu_backward(cache.gate, cache.up, wide); });
  }
  state.counters["attention"] = attention.seconds();
  state.counters["attention_backward"] = attention_backward.seconds();
  state.counters["points_r1_r2"] = points.seconds() - rotations.seconds();
  state.counters["point_key"] = key.seconds();
  state.counters["point_down"] = down.seconds();
  state.counters["rope"] = rope.seconds();
  state.counters["norm_backward"] = norm_backward.seconds();
  state.counters["swiglu"] = swiglu.seconds();
  state.counters["swiglu_backward"] = swiglu_backward.seconds();
}

// Forward and backward of the published way from a rotated residual stream.
void reference_step(const ReferenceLayer& reference, const at::Tensor& h, const at::Tensor& grad_out,
                    const at::Tensor& r1, const at::Tensor& r2) {
  const at::Tensor leaves[] = {h.detach().requires_grad_(), r1.detach().requires_grad_(),
                               r2.detach().requires_grad_()};
  reference.forward(leaves[0], leaves[1], leaves[2]).backward(grad_out);
}

double relative_difference(const at::Tensor& a, const at::Tensor& b) {
  return ((a - b).abs().max() / b.abs().max()).item<double>();
}

at::Tensor skew(const at::Tensor& a) {
  return a - a.t();
}

// A small layer in fp64: both ways are the same function, and the tangential parts of their gradients agree.
// The residual stream is rotated before the layer and back behind it, as embedding and head do it.
double disagreement() {
  data::LlamaConfig small = llama3_8b(1);
  small.hidden_size = 64;  // powers of 4: fp32 holds their Hadamard matrices exactly
  small.intermediate_size = 448;
  small.num_heads = 4;
  small.num_kv_heads = 2;
  small.head_dim = 16;
  DecoderLayer layer(small, /*num_tokens=*/24, at::kDouble);
  const at::Tensor ours = forward_backward(layer);
  const at::Tensor h = layer.h.detach().requires_grad_();
  const at::Tensor r1 = layer.r1.to(at::kDouble).requires_grad_();
  const at::Tensor r2 = layer.r2.to(at::kDouble).requires_grad_();
  const ReferenceLayer reference(layer.context(), layer.weights);
  at::mm(reference.forward(at::mm(h, r1), r1, r2), r1.t()).backward(layer.grad_out);
  return std::max({relative_difference(ours, h.grad()),
                   relative_difference(skew(layer.moments.r1), skew(at::mm(r1.grad(), r1.detach().t()))),
                   relative_difference(skew(layer.moments.r2), skew(at::mm(r2.grad(), r2.detach().t())))});
}

void published_way(benchmark::State& state, at::ScalarType dtype) {
  const double difference = disagreement();
  if (!(difference < kAgreement)) {
    const std::string message = "the published way's result differs by " + std::to_string(difference);
    return state.SkipWithError(message.c_str());
  }
  DecoderLayer layer(llama3_8b(1), state.range(0), dtype);
  const ReferenceLayer reference(layer.context(), layer.weights);
  LeastTime ours, theirs;
  for (auto _ : state) {
    for (int repetition = 0; repetition < 2; ++repetition) {
      ours.time([&] { benchmark::DoNotOptimize(forward_backward(layer)); });
    }
    theirs.time([&] { reference_step(reference, layer.h, layer.grad_out, layer.r1, layer.r2); });
    ours.time([&] { benchmark::DoNotOptimize(forward_backward(layer)); });
  }
  state.counters["speed_up"] = theirs.seconds() / ours.seconds();
  state.counters["ours"] = ours.seconds();
  state.counters["published"] = theirs.seconds();
  state.counters["difference_fp64"] = difference;
}

void shapes(benchmark::internal::Benchmark* bench, int iterations) {
  bench->ArgName("tokens")->Iterations(iterations)->UseRealTime()->Unit(benchmark::kMillisecond);
}
void several(benchmark::internal::Benchmark* bench) {
  shapes(bench, 5);
}
void once(benchmark::internal::Benchmark* bench) {
  shapes(bench, 1);
}

BENCHMARK_CAPTURE(layer_step, fp32, at::kFloat)->Arg(512)->Apply(several);
BENCHMARK_CAPTURE(layer_step, bf16, at::kBFloat16)->Arg(512)->Arg(2048)->Apply(several);
BENCHMARK_CAPTURE(layer_parts, fp32, at::kFloat)->Arg(512)->Apply(several);
BENCHMARK_CAPTURE(layer_parts, bf16, at::kBFloat16)->Arg(512)->Arg(2048)->Apply(several);
BENCHMARK_CAPTURE(published_way, fp32, at::kFloat)->Arg(512)->Apply(once);
BENCHMARK_CAPTURE(published_way, bf16, at::kBFloat16)->Arg(512)->Arg(2048)->Apply(once);

}  // namespace
}  // namespace spq::bench
