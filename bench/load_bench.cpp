// Reading a rank's part of a model (bf16, LLaMA-3-8B's layers, 2.3 GB, in the page cache) with
// model::load_shard, against read() of as many bytes of the same file into new memory, in turn with it.
// Argument: ranks; each has one thread when there are two, and two threads when it is alone. Counters in
// GB/s, and `of_read`, their ratio.
#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <benchmark/benchmark.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <thread>

#include "bench/decoder_layer.h"
#include "bench/least_time.h"
#include "core/error.h"
#include "data/safetensors_writer.h"
#include "model/rows.h"
#include "model/sharded_load.h"

namespace spq::bench {
namespace {

constexpr int64_t kLayers = 4;
constexpr int64_t kPiece = int64_t{1} << 20;

data::LlamaConfig shape_of_model() {
  data::LlamaConfig config = llama3_8b(kLayers);
  config.vocab_size = 32064;
  return config;
}

using Write = std::function<void(const std::string& name, at::IntArrayRef shape)>;

void for_tensors(const data::LlamaConfig& c, const Write& write) {
  const int64_t d = c.hidden_size;
  for (int64_t l = 0; l < c.num_layers; ++l) {
    const auto name = [l](const char* rest) { return fmt::format("model.layers.{}.{}.weight", l, rest); };
    write(name("input_layernorm"), {d});
    write(name("post_attention_layernorm"), {d});
    write(name("self_attn.q_proj"), {c.num_heads * c.head_dim, d});
    write(name("self_attn.k_proj"), {c.num_kv_heads * c.head_dim, d});
    write(name("self_attn.v_proj"), {c.num_kv_heads * c.head_dim, d});
    write(name("self_attn.o_proj"), {d, c.num_heads * c.head_dim});
    write(name("mlp.gate_proj"), {c.intermediate_size, d});
    write(name("mlp.up_proj"), {c.intermediate_size, d});
    write(name("mlp.down_proj"), {d, c.intermediate_size});
  }
  write("model.embed_tokens.weight", {c.vocab_size, d});
  write("model.norm.weight", {d});
  write("lm_head.weight", {c.vocab_size, d});
}

/// A model folder that exists as long as this does.
class SyntheticModel {
 public:
  explicit SyntheticModel(const data::LlamaConfig& config)
      : folder_(std::filesystem::temp_directory_path() / fmt::format("spq-load-bench-{}", getpid())) {
    std::filesystem::create_directories(folder_);
    std::vector<data::TensorSpec> specs;
    for_tensors(config, [&](const std::string& name, at::IntArrayRef shape) {
      specs.push_back({name, at::kBFloat16, shape.vec()});
    });
    data::SafetensorsWriter writer(file(), specs);
    const at::Tensor values = normal({shape_limit(config)}, at::kBFloat16, /*seed=*/1);
    for (const data::TensorSpec& spec : specs) {
      const auto count = static_cast<int64_t>(spec.bytes()) / 2;
      writer.write(spec.name, values.narrow(0, 0, count).view(spec.shape));
    }
    writer.finish();
  }
  ~SyntheticModel() { std::filesystem::remove_all(folder_); }
  SyntheticModel(const SyntheticModel&) = delete;
  SyntheticModel& operator=(const SyntheticModel&) = delete;

  const std::filesystem::path& folder() const { return folder_; }
  std::filesystem::path file() const { return folder_ / "model.safetensors"; }

 private:
  static int64_t shape_limit(const data::LlamaConfig& c) {
    return std::max(c.vocab_size, c.intermediate_size) * c.hidden_size;
  }
  std::filesystem::path folder_;
};

/// Bytes [begin, end) of `file` into memory that is new each time, with the threads of for_rows.
void read_plainly(int file, int64_t begin, int64_t end) {
  const at::Tensor to = at::empty({end - begin}, at::kByte);
  auto* const bytes = static_cast<char*>(to.mutable_data_ptr());
  const int64_t pieces = (end - begin + kPiece - 1) / kPiece;
  model::for_rows(pieces, kPiece, [&](int64_t first, int64_t last) {
    for (int64_t at = begin + first * kPiece; at < std::min(end, begin + last * kPiece);) {
      const ssize_t got =
          pread(file, bytes + (at - begin), static_cast<size_t>(std::min(kPiece, end - at)), at);
      check(got > 0, "the benchmark's own model cannot be read");
      at += got;
    }
  });
}

/// body(rank) for every rank, at the same time, with one thread each; a rank that is alone has all threads.
void on_ranks(int ranks, const std::function<void(int)>& body) {
  if (ranks == 1) return body(0);
  std::vector<std::thread> threads;
  for (int rank = 0; rank < ranks; ++rank) {
    threads.emplace_back([&body, rank] {
      at::set_num_threads(1);
      body(rank);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

void load_shard(benchmark::State& state) {
  const int ranks = static_cast<int>(state.range(0));
  const data::LlamaConfig config = shape_of_model();
  const SyntheticModel model(config);
  const data::ModelFiles files(model.folder());
  const auto size = static_cast<int64_t>(std::filesystem::file_size(model.file()));
  const int file = open(model.file().c_str(), O_RDONLY | O_CLOEXEC);
  LeastTime load, read;
  for (auto _ : state) {
    read.time([&] {
      on_ranks(ranks, [&](int r) { read_plainly(file, size * r / ranks, size * (r + 1) / ranks); });
    });
    load.time([&] {
      on_ranks(ranks, [&](int r) { benchmark::DoNotOptimize(model::load_shard(files, config, r, ranks)); });
    });
  }
  close(file);
  const double gigabytes = static_cast<double>(size) * 1e-9;
  state.counters["of_read"] = read.seconds() / load.seconds();
  state.counters["load_GB/s"] = gigabytes / load.seconds();
  state.counters["read_GB/s"] = gigabytes / read.seconds();
}

BENCHMARK(load_shard)
    ->ArgName("ranks")
    ->Arg(1)
    ->Arg(2)
    ->Iterations(4)
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace spq::bench
