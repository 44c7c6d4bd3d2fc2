// The network against Hugging Face and the reference's training model (tests/golden/README.md says what each
// number is).
#include <gtest/gtest.h>

#include "model/network.h"
#include "model/quant_point.h"
#include "tests/support/golden.h"
#include "tests/support/resident_weights.h"

namespace spq::model {
namespace {

using test::TensorMap;

data::LlamaConfig golden_config(int64_t intermediate) {
  data::LlamaConfig c;
  c.hidden_size = 64;
  c.intermediate_size = intermediate;
  c.num_layers = 2;
  c.num_heads = 4;
  c.num_kv_heads = 2;
  c.head_dim = 16;
  c.vocab_size = 128;
  c.max_position = 2048;
  c.rms_norm_eps = 1e-5;
  c.rope.theta = 500000.0;
  return c;
}

QuantScheme scheme(int bits) {
  QuantScheme s;
  s.residual_input = s.down_input = s.key = {bits, false, -1, true, 1.0};
  s.attention_output = s.value = {bits, false, -1, false, 1.0};
  return s;
}

data::Rotations golden_rotations(const TensorMap& g) {
  return {g.at("R1"), {g.at("R2.0"), g.at("R2.1")}};
}

struct GoldenNetwork {
  GoldenNetwork(const std::string& file, int64_t intermediate, int bits)
      : tensors(test::golden(file)),
        config(golden_config(intermediate)),
        weights(config, tensors, at::kFloat) {
    network.config = config;
    network.scheme = scheme(bits);
    network.frames = NetworkFrames(config, golden_rotations(tensors), {}, at::kFloat);
    network.rope = make_rope_table(config, 32);
  }
  at::Tensor ids(int64_t sequences) const { return tensors.at("input_ids").narrow(0, 0, sequences); }

  TensorMap tensors;
  data::LlamaConfig config;
  test::ResidentWeights weights;
  Network network;
};

TEST(GoldenNetwork, FullPrecisionLogitsEqualHuggingFace) {
  GoldenNetwork g("layer", 192, 16);
  const at::Tensor logits = forward_logits(g.network, g.weights, g.ids(2));
  EXPECT_LE(test::max_error(logits, g.tensors.at("hf.logits")), 1e-5);
}

TEST(GoldenNetwork, Llama3RopeScalingEqualsHuggingFace) {
  GoldenNetwork g("layer", 192, 16);
  g.network.config.rope.scaling = data::RopeConfig::Scaling::kLlama3;
  g.network.config.rope.factor = 8.0;
  g.network.config.rope.low_freq_factor = 1.0;
  g.network.config.rope.high_freq_factor = 4.0;
  g.network.config.rope.original_max_position = 16;
  const at::Tensor expected = g.tensors.at("hf_llama3rope.inv_freq");
  const std::vector<double> frequencies = rope_frequencies(g.network.config);
  for (int64_t i = 0; i < 8; ++i) {
    const double f = expected[i].item<double>();
    EXPECT_NEAR(frequencies[static_cast<size_t>(i)], f, 2e-7 * f);
  }
  g.network.rope = make_rope_table(g.network.config, 32);
  const at::Tensor logits = forward_logits(g.network, g.weights, g.ids(2));
  EXPECT_LE(test::max_error(logits, g.tensors.at("hf_llama3rope.logits")), 1e-5);
}

// Loss, logits and the skew parts of the published gradients: skew(G R^T) = skew(M), design.md 3.
void expect_case(GoldenNetwork& g, const std::string& name, int64_t sequences) {
  const std::string p = name + ".b" + std::to_string(sequences) + ".";
  const bool four_bits = g.network.scheme.key.bits == 4;
  const test::LossAndMoments found =
      test::loss_and_moments(g.network, g.weights, g.ids(sequences), at::kFloat);
  EXPECT_NEAR(found.loss, g.tensors.at(p + "loss").item<double>(), 2e-6) << p;
  EXPECT_NEAR(found.loss, g.tensors.at(p + "loss_f64_indep").item<double>(), 2e-6) << p;
  const at::Tensor logits = forward_logits(g.network, g.weights, g.ids(sequences));
  EXPECT_LE(test::max_error(logits, g.tensors.at(p + "logits")), 1e-5) << p;
  // The file's gradients are good to 3e-6 of their whole norm, most of which is not skew.
  const auto expect_skew = [&](const at::Tensor& moment, const std::string& key, const at::Tensor& r) {
    const at::Tensor published = g.tensors.at(p + key);
    const double error = test::skew(moment).sub(test::skew(published.mm(r.t()))).norm().item<double>();
    EXPECT_LE(error, 2 * 3e-6 * published.norm().item<double>()) << p << key;
    if (four_bits) {
      EXPECT_LE(error, 1e-5 * test::skew(moment).norm().item<double>()) << p << key;
    }
  };
  const data::Rotations r = golden_rotations(g.tensors);
  expect_skew(found.r1, "grad_R1", r.r1);
  for (size_t l = 0; l < 2; ++l) expect_skew(found.r2[l], "grad_R2." + std::to_string(l), r.r2[l]);
}

TEST(GoldenNetwork, FourBitActivationsKeysAndValuesEqualTheReference) {
  GoldenNetwork g("layer", 192, 4);
  expect_case(g, "w16a4kv4", 1);
  expect_case(g, "w16a4kv4", 2);
}

TEST(GoldenNetwork, EightBitEqualsTheReference) {
  GoldenNetwork g("layer", 192, 8);
  expect_case(g, "w16a8kv8", 1);
}

TEST(GoldenNetwork, PowerOfTwoIntermediateSizeEqualsTheReference) {
  GoldenNetwork g("layer_pow2", 128, 4);
  expect_case(g, "w16a4kv4", 1);
}

TEST(GoldenNetwork, UnquantizedNetworkHasNoMomentAndTheReferencesLoss) {
  GoldenNetwork g("layer", 192, 16);
  const test::LossAndMoments found = test::loss_and_moments(g.network, g.weights, g.ids(2), at::kFloat);
  EXPECT_NEAR(found.loss, g.tensors.at("w16a16kv16.b2.loss").item<double>(), 2e-6);
  EXPECT_EQ(found.r1.abs().max().item<double>(), 0.0);
  EXPECT_EQ(found.r2[1].abs().max().item<double>(), 0.0);
}

TEST(GoldenNetwork, QuantizedTensorsOfTheFirstLayerEqualTheTrace) {
  GoldenNetwork g("layer", 192, 4);
  const std::string p = "w16a4kv4.b1.trace.";
  const data::Rotations r = golden_rotations(g.tensors);
  const at::Tensor h0 = g.weights.embed(g.ids(1).reshape({-1}));
  EXPECT_LE(test::max_error(h0.mm(r.r1), g.tensors.at(p + "h0")), 5e-6);
  LayerCache cache;
  const LayerContext context = g.network.context(1, 32);
  const at::Tensor h1 = layer_forward(context, g.weights.layer(0), g.network.frames.layer(0), h0, &cache);
  EXPECT_LE(test::max_error(h1.mm(r.r1), g.tensors.at(p + "h1")), 5e-6);

  const LayerFrames frames = g.network.frames.layer(0);
  const auto heads = [](const at::Tensor& x) {
    return x.transpose(0, 1);
  };  // [T, heads, hd] -> [heads, T, hd]
  EXPECT_LE(test::max_error(heads(frames.r3.enter(cache.q)), g.tensors.at(p + "q")), 5e-6);
  EXPECT_LE(test::max_error(heads(frames.r3.enter(cache.k_hat)), g.tensors.at(p + "k")), 5e-6);
  EXPECT_LE(test::max_error(frames.r2.enter(cache.v_hat).reshape({32, 32}), g.tensors.at(p + "v")), 5e-6);
  const at::Tensor a = cache.attention.out.view({32, 4, 16}).add(cache.output_error);
  EXPECT_LE(test::max_error(frames.r2.enter(a).reshape({32, 64}), g.tensors.at(p + "a")), 5e-6);
  const at::Tensor h2 = layer_forward(context, g.weights.layer(1), g.network.frames.layer(1), h1, nullptr);
  EXPECT_LE(test::max_error(h2.mm(r.r1), g.tensors.at(p + "h2")), 5e-6);
}

}  // namespace
}  // namespace spq::model
