// Perplexity of two LLaMA-3-8B layers, as spq-eval computes it for a quantized model (4-bit activations, keys
// and values, R3 and R4 online), against the matrix products of the forward pass in turn with it. The head
// has as many rows for two layers as it has for 32. Arguments: tokens of a window.
#include <ATen/ops/empty.h>
#include <ATen/ops/randint.h>
#include <benchmark/benchmark.h>

#include "bench/decoder_layer.h"
#include "bench/least_time.h"
#include "dist/single_communicator.h"
#include "model/network.h"
#include "model/product.h"
#include "model/sharded_weights.h"

namespace spq::bench {
namespace {

constexpr int64_t kLayers = 2;

model::ModelShard random_shard(const data::LlamaConfig& config, at::ScalarType dtype) {
  model::ModelShard shard;
  for (int64_t l = 0; l < config.num_layers; ++l) {
    shard.layers.push_back(random_weights(config, dtype, static_cast<uint64_t>(100 * l)));
  }
  shard.embedding = normal({config.vocab_size, config.hidden_size}, dtype, /*seed=*/1);
  shard.head = normal({config.vocab_size, config.hidden_size}, dtype, /*seed=*/2, 1.0 / 64);
  return shard;
}

void perplexity(benchmark::State& state, at::ScalarType dtype) {
  const int64_t tokens = state.range(0);
  data::LlamaConfig config = llama3_8b(kLayers);
  config.vocab_size = config.vocab_size * kLayers / 32;
  model::Network network;
  network.config = config;
  network.scheme = w16a4kv4();
  network.rope = model::make_rope_table(config, tokens);
  model::LayerFrames frames;
  frames.r3 = model::Frame(kernels::plan_hadamard(config.head_dim));
  frames.r4 = model::Frame::one_way(kernels::plan_hadamard(config.intermediate_size));
  network.frames = model::NetworkFrames(frames);
  dist::SingleCommunicator comm;
  model::ShardedWeights weights(comm, config, random_shard(config, dtype), dtype);
  const at::Tensor ids = at::randint(config.vocab_size, {1, tokens}, at::TensorOptions(at::kLong));

  LayerProducts products(DecoderLayer(config, tokens, dtype));
  const at::Tensor h = normal({tokens, config.hidden_size}, dtype, /*seed=*/3);
  const at::Tensor head = normal({config.vocab_size, config.hidden_size}, dtype, /*seed=*/4);
  at::Tensor logits = at::empty({tokens, config.vocab_size}, h.options());
  LeastTime product, evaluation;
  for (auto _ : state) {
    product.time([&] {
      for (int64_t l = 0; l < kLayers; ++l) products.forward();
      model::product_out(logits, h, head.t());
    });
    evaluation.time([&] { benchmark::DoNotOptimize(forward_loss(network, weights, ids)); });
  }
  state.counters["ratio"] = evaluation.seconds() / product.seconds();
  state.counters["evaluation"] = evaluation.seconds();
  state.counters["products"] = product.seconds();
  state.counters["tokens/s"] = static_cast<double>(tokens) / evaluation.seconds();
}

void shape(benchmark::internal::Benchmark* bench) {
  bench->ArgName("tokens")->Arg(2048)->Iterations(4)->UseRealTime()->Unit(benchmark::kMillisecond);
}

BENCHMARK_CAPTURE(perplexity, fp32, at::kFloat)->Apply(shape);
BENCHMARK_CAPTURE(perplexity, bf16, at::kBFloat16)->Apply(shape);

}  // namespace
}  // namespace spq::bench
