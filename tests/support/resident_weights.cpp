#include "tests/support/resident_weights.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>

#include "core/error.h"

namespace spq::test {

ResidentWeights::ResidentWeights(const data::LlamaConfig& config, const TensorMap& tensors,
                                 at::ScalarType dtype) {
  const auto get = [&](const std::string& name) { return tensors.at(name + ".weight").to(dtype); };
  for (int64_t l = 0; l < config.num_layers; ++l) {
    const std::string p = fmt::format("model.layers.{}.", l);
    const at::Tensor g1 = get(p + "input_layernorm");
    const at::Tensor g2 = get(p + "post_attention_layernorm");
    layers_.push_back({.q = get(p + "self_attn.q_proj").mul(g1),
                       .k = get(p + "self_attn.k_proj").mul(g1),
                       .v = get(p + "self_attn.v_proj").mul(g1),
                       .o_t = get(p + "self_attn.o_proj").t().contiguous(),
                       .gate = get(p + "mlp.gate_proj").mul(g2),
                       .up = get(p + "mlp.up_proj").mul(g2),
                       .down_t = get(p + "mlp.down_proj").t().contiguous()});
  }
  embedding_ = get("model.embed_tokens");
  head_ = get("lm_head").mul(get("model.norm"));
}

LossAndMoments loss_and_moments(const model::Network& network, model::WeightSource& weights,
                                const at::Tensor& ids, at::ScalarType moment_dtype) {
  const data::LlamaConfig& c = network.config;
  const model::LayerContext context = network.context(ids.size(0), ids.size(1));
  std::vector<model::LayerCache> caches(static_cast<size_t>(c.num_layers));
  at::Tensor h = weights.embed(ids.reshape({-1}));
  for (int64_t l = 0; l < c.num_layers; ++l) {
    h = model::layer_forward(context, weights.layer(l), network.frames.layer(l), h,
                             &caches[static_cast<size_t>(l)]);
  }
  const double predictions = static_cast<double>(ids.size(0) * (ids.size(1) - 1));
  const model::LossResult loss =
      model::next_token_loss(h, ids, weights.head(), c.rms_norm_eps, network.loss_chunk, 1.0 / predictions);
  LossAndMoments result;
  result.loss = loss.loss_sum() / predictions;
  result.r1 = at::zeros({c.hidden_size, c.hidden_size}, moment_dtype);
  result.r2.resize(static_cast<size_t>(c.num_layers));
  at::Tensor grad = loss.grad;
  for (int64_t l = c.num_layers - 1; l >= 0; --l) {
    const auto i = static_cast<size_t>(l);
    result.r2[i] = at::zeros({c.head_dim, c.head_dim}, moment_dtype);
    model::LayerMoments moments{result.r1, result.r2[i]};
    grad = model::layer_backward(context, weights.layer(l), caches[i], grad, moments);
  }
  return result;
}

TensorMap random_model(const data::LlamaConfig& c, int64_t seed) {
  const at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(static_cast<uint64_t>(seed));
  const auto normal = [&](std::vector<int64_t> shape, double scale) {
    return at::randn(shape, generator, at::kFloat).mul_(scale).to(at::kDouble);
  };
  const int64_t heads = c.num_heads * c.head_dim;
  const int64_t kv = c.num_kv_heads * c.head_dim;
  TensorMap t;
  for (int64_t l = 0; l < c.num_layers; ++l) {
    const std::string p = fmt::format("model.layers.{}.", l);
    t[p + "input_layernorm.weight"] = normal({c.hidden_size}, 0.2).add_(1);
    t[p + "post_attention_layernorm.weight"] = normal({c.hidden_size}, 0.2).add_(1);
    t[p + "self_attn.q_proj.weight"] = normal({heads, c.hidden_size}, 0.2);
    t[p + "self_attn.k_proj.weight"] = normal({kv, c.hidden_size}, 0.2);
    t[p + "self_attn.v_proj.weight"] = normal({kv, c.hidden_size}, 0.2);
    t[p + "self_attn.o_proj.weight"] = normal({c.hidden_size, heads}, 0.2);
    t[p + "mlp.gate_proj.weight"] = normal({c.intermediate_size, c.hidden_size}, 0.2);
    t[p + "mlp.up_proj.weight"] = normal({c.intermediate_size, c.hidden_size}, 0.2);
    t[p + "mlp.down_proj.weight"] = normal({c.hidden_size, c.intermediate_size}, 0.2);
  }
  t["model.norm.weight"] = normal({c.hidden_size}, 0.2).add_(1);
  t["model.embed_tokens.weight"] = normal({c.vocab_size, c.hidden_size}, 1.0);
  t["lm_head.weight"] = normal({c.vocab_size, c.hidden_size}, 0.3);
  return t;
}

}  // namespace spq::test
