#include "bench/decoder_layer.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <cmath>

#include "model/product.h"
#include "model/quant_config.h"
#include "model/quant_point.h"
#include "model/rotation_start.h"
#include "model/rows.h"

namespace spq::bench {
namespace {

constexpr int64_t kRandomValues = 1000003;  // repeated from there on; no row length divides it

}  // namespace

data::LlamaConfig llama3_8b(int64_t num_layers) {
  data::LlamaConfig config;
  config.hidden_size = 4096;
  config.intermediate_size = 14336;
  config.num_layers = num_layers;
  config.num_heads = 32;
  config.num_kv_heads = 8;
  config.head_dim = 128;
  config.vocab_size = 128256;
  config.max_position = 8192;
  config.rms_norm_eps = 1e-5;
  config.rope.theta = 500000;
  return config;
}

model::QuantScheme w16a4kv4() {
  model::QuantConfig config;
  config.activation.bits = config.key.bits = config.value.bits = 4;
  return model::quant_scheme(config);
}

at::Tensor normal(at::IntArrayRef sizes, at::ScalarType dtype, uint64_t seed, double scale) {
  const at::Tensor values = at::empty(sizes, at::TensorOptions(dtype));
  at::Generator generator = at::detail::createCPUGenerator(seed);
  const at::Tensor some =
      at::randn({std::min(values.numel(), kRandomValues)}, generator, at::TensorOptions(dtype)).mul_(scale);
  const at::Tensor flat = values.view(-1);
  for (int64_t begin = 0; begin < flat.numel(); begin += kRandomValues) {
    const int64_t count = std::min(kRandomValues, flat.numel() - begin);
    flat.narrow(0, begin, count).copy_(some.narrow(0, 0, count));
  }
  return values;
}

model::LayerWeights random_weights(const data::LlamaConfig& c, at::ScalarType dtype, uint64_t seed) {
  const int64_t heads = c.num_heads * c.head_dim;
  const int64_t kv = c.num_kv_heads * c.head_dim;
  const auto matrix = [&](int64_t rows, int64_t inputs) {
    return normal({rows, c.hidden_size}, dtype, ++seed, 1 / std::sqrt(static_cast<double>(inputs)));
  };
  const int64_t d = c.hidden_size;
  return {.q = matrix(heads, d),
          .k = matrix(kv, d),
          .v = matrix(kv, d),
          .o_t = matrix(heads, heads),
          .gate = matrix(c.intermediate_size, d),
          .up = matrix(c.intermediate_size, d),
          .down_t = matrix(c.intermediate_size, c.intermediate_size)};
}

DecoderLayer::DecoderLayer(const data::LlamaConfig& shape, int64_t num_tokens, at::ScalarType compute_dtype)
    : config(shape),
      tokens(num_tokens),
      dtype(compute_dtype),
      scheme(w16a4kv4()),
      rope(model::make_rope_table(shape, num_tokens, model::accumulate_dtype(compute_dtype))),
      weights(random_weights(shape, compute_dtype, /*seed=*/1)),
      r1(model::random_hadamard(shape.hidden_size, /*seed=*/0, /*stream=*/0)),
      r2(model::random_hadamard(shape.head_dim, /*seed=*/0, /*stream=*/1)),
      h(normal({num_tokens, shape.hidden_size}, compute_dtype, /*seed=*/11)),
      grad_out(normal({num_tokens, shape.hidden_size}, compute_dtype, /*seed=*/12, 1e-4)) {
  frames = {model::Frame(r1.to(dtype)), model::Frame(r2.to(dtype)),
            model::Frame(kernels::plan_hadamard(config.head_dim)),
            model::Frame(kernels::plan_hadamard(config.intermediate_size))};
  const at::TensorOptions sums(model::accumulate_dtype(dtype));
  moments = {at::zeros(r1.sizes(), sums), at::zeros(r2.sizes(), sums)};
}

LayerProducts::LayerProducts(const DecoderLayer& layer)
    : weights_(layer.weights), r1_(layer.r1.to(layer.dtype)), r2_(layer.r2.to(layer.dtype)) {
  const auto activations = [&](int64_t columns, uint64_t seed) {
    return normal({layer.tokens, columns}, layer.dtype, seed);
  };
  residual_ = activations(layer.config.hidden_size, 21);
  residual_out_ = activations(layer.config.hidden_size, 22);
  heads_ = activations(weights_.q.size(0), 23);
  heads_out_ = activations(weights_.q.size(0), 24);
  kv_ = activations(weights_.k.size(0), 25);
  kv_out_ = activations(weights_.k.size(0), 26);
  wide_ = activations(weights_.gate.size(0), 27);
  moment1_ = at::zeros_like(layer.moments.r1);
  moment2_ = at::zeros_like(layer.moments.r2);
}

void LayerProducts::forward() {
  model::product_out(heads_out_, residual_, weights_.q.t());
  model::product_out(kv_out_, residual_, weights_.k.t());
  model::product_out(kv_out_, residual_, weights_.v.t());
  model::product_out(residual_out_, heads_, weights_.o_t);
  model::product_out(wide_, residual_, weights_.gate.t());
  model::product_out(wide_, residual_, weights_.up.t());
  model::product_out(residual_out_, wide_, weights_.down_t);
}

void LayerProducts::gradients() {
  model::product_out(wide_, residual_, weights_.down_t.t());
  model::product_out(residual_out_, wide_, weights_.up);
  model::product_out(residual_out_, wide_, weights_.gate);
  model::product_out(heads_out_, residual_, weights_.o_t.t());
  model::product_out(residual_out_, kv_, weights_.v);
  model::product_out(residual_out_, kv_, weights_.k);
  model::product_out(residual_out_, heads_, weights_.q);
}

void LayerProducts::rotations() {
  const int64_t head_dim = r2_.size(0);
  for (int point = 0; point < 2; ++point) {
    model::product_out(residual_out_, residual_, r1_);
    model::product_out(residual_out_, residual_, r1_.t());
  }
  const auto rotate_heads = [&](const at::Tensor& x, at::Tensor y) {
    y = y.view({-1, head_dim});
    model::product_out(y, x.view({-1, head_dim}), r2_);
    model::product_out(y, x.view({-1, head_dim}), r2_.t());
  };
  rotate_heads(kv_, kv_out_);
  rotate_heads(heads_, heads_out_);
}

void LayerProducts::moments() {
  for (int point = 0; point < 2; ++point) model::accumulate_moment(moment1_, residual_, residual_out_);
  model::accumulate_moment(moment2_, kv_, kv_out_);
  model::accumulate_moment(moment2_, heads_, heads_out_);
}

}  // namespace spq::bench
