// What a training step of LLaMA-3-8B does outside its decoder layers, once each, against 32 layers with
// recompute: loss and its gradient over the whole vocabulary, the rotations cast for the step, reduction and
// checks of the moments, Cayley update, a line of metrics, and a checkpoint's share (one in 20 steps, the
// default). One sequence, one rank.
#include <ATen/ops/index_select.h>
#include <ATen/ops/randint.h>
#include <benchmark/benchmark.h>

#include <unistd.h>
#include <filesystem>
#include <optional>

#include "bench/decoder_layer.h"
#include "bench/least_time.h"
#include "data/checkpoint.h"
#include "dist/collectives.h"
#include "dist/single_communicator.h"
#include "model/loss.h"
#include "model/network.h"
#include "model/rotation_start.h"
#include "trainer/cayley.h"
#include "trainer/config.h"
#include "trainer/metrics.h"
#include "trainer/moments.h"

namespace spq::bench {
namespace {

constexpr int64_t kLayers = 32;

// Moments of the size that training sees: a step limited by its learning rate, not by their norm.
void fill_moments(trainer::Moments& moments) {
  moments.flat().copy_(normal(moments.flat().sizes(), at::kFloat, /*seed=*/41, 1e-4));
}

double layer_seconds(int64_t tokens, at::ScalarType dtype) {
  DecoderLayer layer(llama3_8b(1), tokens, dtype);
  LeastTime least;
  for (int repetition = 0; repetition < 3; ++repetition) {
    least.time([&] {
      layer_forward(layer.context(), layer.weights, layer.frames, layer.h, nullptr);
      model::LayerCache cache;
      layer_forward(layer.context(), layer.weights, layer.frames, layer.h, &cache);
      layer_backward(layer.context(), layer.weights, cache, layer.grad_out, layer.moments);
    });
  }
  return least.seconds();
}

void outside_the_layers(benchmark::State& state, at::ScalarType dtype) {
  const int64_t tokens = state.range(0);
  const data::LlamaConfig config = llama3_8b(kLayers);
  const double layer = layer_seconds(tokens, dtype);
  const at::Tensor head = normal({config.vocab_size, config.hidden_size}, dtype, /*seed=*/2, 1.0 / 64);
  const at::Tensor h = normal({tokens, config.hidden_size}, dtype, /*seed=*/3);
  const at::Tensor ids = at::randint(config.vocab_size, {1, tokens}, at::TensorOptions(at::kLong));
  data::Rotations rotations = model::make_rotations(model::RotationSource::kHadamard,
                                                    model::RotationSource::kHadamard, 0, "", config);
  const std::filesystem::path folder =
      std::filesystem::temp_directory_path() / ("spq-outside-bench-" + std::to_string(getpid()));
  std::filesystem::create_directories(folder);
  dist::SingleCommunicator comm;
  const trainer::Config defaults;
  const trainer::Learned learned;
  LeastTime loss, frames, reduce, cayley, metrics, checkpoint;
  for (auto _ : state) {
    loss.time([&] {
      benchmark::DoNotOptimize(
          at::index_select(head, 0, ids.view(-1)));  // the embedding has the head's shape
      benchmark::DoNotOptimize(
          model::next_token_loss(h, ids, head, config.rms_norm_eps, defaults.compute.loss_chunk, 1.0 / 2047));
    });
    std::optional<trainer::Moments> moments;
    frames.time([&] {
      benchmark::DoNotOptimize(model::NetworkFrames(config, rotations, {}, dtype));
      moments.emplace(rotations, learned);
    });
    fill_moments(*moments);
    reduce.time([&] {
      dist::all_reduce_sum(comm, moments->flat());
      benchmark::DoNotOptimize(moments->flat().norm().item<double>());
    });
    cayley.time([&] {
      std::vector<at::Tensor> x = learned_matrices(rotations, learned);
      std::vector<at::Tensor> momentum;
      trainer::cayley_step(comm, x, moments->all(), momentum, defaults.optimizer.learning_rate, {});
      assign_learned(rotations, learned, x);
    });
    metrics.time([&] { trainer::MetricsWriter(folder / "metrics.jsonl", 0).write({}); });
    data::Checkpoint content;
    content.rotations = rotations;
    checkpoint.time([&] { write_checkpoint(folder / "checkpoint.h5", content); });
  }
  std::filesystem::remove_all(folder);
  const double once = frames.seconds() + reduce.seconds() + cayley.seconds() + metrics.seconds() +
                      checkpoint.seconds() / static_cast<double>(defaults.checkpoint.every);
  const auto share = [&](int64_t sequences) {
    const double outside = once + static_cast<double>(sequences) * loss.seconds();
    return outside / (outside + static_cast<double>(sequences * kLayers) * layer);
  };
  state.counters["share"] = share(1);
  state.counters["share_of_8"] = share(8);
  state.counters["layer"] = layer;
  state.counters["loss"] = loss.seconds();
  state.counters["frames"] = frames.seconds();
  state.counters["reduce"] = reduce.seconds();
  state.counters["cayley"] = cayley.seconds();
  state.counters["metrics"] = metrics.seconds();
  state.counters["checkpoint"] = checkpoint.seconds();
}

void shape(benchmark::internal::Benchmark* bench) {
  bench->ArgName("tokens")->Arg(2048)->Iterations(3)->UseRealTime()->Unit(benchmark::kMillisecond);
}

BENCHMARK_CAPTURE(outside_the_layers, bf16, at::kBFloat16)->Apply(shape);

}  // namespace
}  // namespace spq::bench
