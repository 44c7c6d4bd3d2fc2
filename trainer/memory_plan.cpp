#include "trainer/memory_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <limits>
#include <string>
#include <thread>

#include "core/text.h"
#include "model/attention.h"
#include "model/bf16_attention.h"
#include "model/bf16_product.h"
#include "model/product.h"

namespace spq::trainer {
namespace {

constexpr int64_t kFloat = 4;
// Program, LibTorch and MPI, before anything is read: resident memory of a rank that does nothing.
constexpr int64_t kProcess = int64_t{150} << 20;
constexpr double kKeepBelow = 0.9;  // of what is available

// Everything below is alive in model/layer.cpp, model/loss.cpp, trainer/train_step.cpp and trainer/cayley.cpp
// at the same time; tests/trainer/memory_test.cpp counts what they really allocate.

// Numbers that a layer leaves for its backward pass (LayerCache), per token, its input included.
struct CacheSize {
  int64_t compute = 0;  // in the compute dtype
  int64_t fp32 = 0;     // logsumexp
};

CacheSize cache_size(const ModelSizes& m, const model::QuantConfig& quant) {
  int64_t elements = 2 * m.width() + 2 * m.query() + 2 * m.key_value() + 2 * m.intermediate();
  if (quant.activation.bits < 16) elements += 2 * m.width() + m.query();  // errors e
  if (quant.value.bits < 16) elements += m.key_value();
  return {elements, m.heads()};
}

int64_t cache_bytes(const CacheSize& cache, int64_t compute) {
  return cache.compute * compute + cache.fp32 * kFloat;
}

// What a product of bf16 matrices that sums over `depth` takes for itself on each thread; of fp32 matrices
// nothing. Measured with oneDNN 3.10 and AMX, depths 128 to 32000: 160 to 195 bytes for each, up to 0.45 MiB.
int64_t product_scratch(int64_t depth, int64_t compute, int threads) {
  return compute == kFloat ? 0 : threads * std::min(192 * depth, int64_t{1} << 19);
}

// What the gradient of attention holds at most: beside its inputs, its results and what it works with.
int64_t attention_gradient_bytes(const ModelSizes& m, const BatchConfig& batch, int64_t compute,
                                 int threads) {
  const int64_t length = batch.sequence_length;
  const int64_t bytes = batch.micro_batch * length * compute;
  if (threads > 0 && compute != kFloat && model::multiplies_bf16()) {
    const int64_t kv_heads = m.key_value() / m.head_dim();
    const model::AttentionShape shape{batch.micro_batch, length, m.heads(), kv_heads, m.head_dim()};
    return bytes * (m.query() + 2 * m.key_value()) + model::bf16_attention_scratch(shape, threads);
  }
  // LibTorch's: keys and values repeated for their query heads, as are their gradients; on each thread blocks
  // of scores and of their gradients in fp32, in bf16 besides. A GPU has no threads here.
  const int64_t repeated = m.repeats_keys() ? 2 * m.query() : 0;
  const int64_t rows = length >= 768 ? 256 : length >= 192 ? 64 : 32;
  const int64_t columns = std::min<int64_t>(length, 512);
  return bytes * (3 * m.query() + repeated) +
         threads * rows * columns * (2 * kFloat + (compute == kFloat ? 0 : 3 * compute));
}

// What a product [rows, depth] with [depth, columns] takes beside its result. A GPU has no threads here.
int64_t product_bytes(int64_t rows, int64_t depth, int64_t columns, int64_t compute, int threads) {
  const bool apart = compute != kFloat && threads > 0 && model::product_sums_apart(rows);
  return std::max(apart ? rows * columns * kFloat : 0, product_scratch(depth, compute, threads));
}

// The widest moment of a layer's backward pass beyond its cache.
int64_t backward_bytes(const ModelSizes& m, const BatchConfig& batch, int64_t compute, int threads) {
  const int64_t rows = batch.micro_batch * batch.sequence_length;
  const int64_t bytes = rows * compute;
  // Gradients coming in and of the product of gate and up;
  const int64_t product = bytes * (m.width() + m.intermediate()) +
                          product_bytes(rows, m.width(), m.intermediate(), compute, threads);
  // gradients coming in and going out, and: gradients of gate, up and their common input;
  const int64_t mlp = bytes * (3 * m.width() + 2 * m.intermediate()) +
                      product_bytes(rows, m.intermediate(), m.width(), compute, threads);
  // the same and the gradient of attention's output, with attention's own;
  const int64_t output = bytes * (2 * m.width() + m.query());
  const int64_t attention = output + attention_gradient_bytes(m, batch, compute, threads);
  // with gradients of queries, keys, values and of their common input.
  const int64_t input = output + bytes * (m.width() + m.query() + 2 * m.key_value()) +
                        product_bytes(rows, m.query(), m.width(), compute, threads);
  return std::max({product, mlp, attention, input});
}

// Logits of a chunk; the input, normed, and their gradients; what the products need.
int64_t loss_bytes(const ModelSizes& m, const Config& config, int64_t compute, int threads) {
  const int64_t tokens = config.batch.micro_batch * config.batch.sequence_length;
  const int64_t chunk = std::min(config.compute.loss_chunk, config.batch.sequence_length);
  const int64_t products = std::max(product_bytes(chunk, m.width(), m.vocabulary(), compute, threads),
                                    product_bytes(chunk, m.vocabulary(), m.width(), compute, threads));
  return chunk * m.vocabulary() * compute + 4 * tokens * m.width() * compute + products;
}

// Buffers of two neighbouring units, one for even and one for odd numbers.
int64_t slot_bytes(const ModelSizes& m, int64_t storage) {
  std::array<int64_t, 2> largest = {m.layer_elements(), m.layers() > 1 ? m.layer_elements() : 0};
  int64_t& with_head = largest[static_cast<size_t>(m.layers() % 2)];
  with_head = std::max(with_head, m.head_elements());
  return (largest[0] + largest[1]) * storage;
}

int64_t gathered_bytes(const ModelSizes& m, const ElementSizes& bytes, const Placement& p) {
  const int64_t converted =
      bytes.storage == bytes.compute ? 0 : std::max(m.layer_elements(), m.head_elements()) * bytes.compute;
  const bool one_host = p.world_size == p.local_world_size;
  if (p.world_size == 1 || (one_host && p.shares_gathered)) return converted;
  const bool shared = p.shares_gathered && p.world_size % p.local_world_size == 0;
  return slot_bytes(m, bytes.storage) / (shared ? p.local_world_size : 1) + converted;
}

// Numbers in the rotations that learn.
int64_t learned_elements(const ModelSizes& m, const RotationConfig& rotation) {
  const bool r1 = rotation.r1 == RotationKind::kLearned;
  const bool r2 = rotation.r2 == RotationKind::kLearned;
  return (r1 ? m.width() * m.width() : 0) + (r2 ? m.layers() * m.head_dim() * m.head_dim() : 0);
}

// The Cayley step, which comes after the last micro-batch and the reduction and needs more than that.
int64_t update_bytes(const ModelSizes& m, const Config& config, int world_size) {
  const bool r1 = config.rotation.r1 == RotationKind::kLearned;
  const int64_t one = (r1 ? m.width() * m.width() : m.head_dim() * m.head_dim()) * kFloat;
  const int64_t all = learned_elements(m, config.rotation) * kFloat;
  // All new matrices, and what retract() makes around one of them; of many small ones, their columns on the
  // way to the other ranks take more.
  return all + std::max(5 * one, all / world_size + one);
}

}  // namespace

Placement on_hosts(int world_size, int local_world_size, int64_t threads) {
  const int share = static_cast<int>(std::thread::hardware_concurrency()) / local_world_size;
  return {.world_size = world_size,
          .local_world_size = local_world_size,
          .threads = threads > 0 ? static_cast<int>(threads) : std::max(1, share),
          .process = kProcess};
}

Placement on_gpus(int world_size, int local_world_size, int64_t reserved) {
  return {.world_size = world_size,
          .local_world_size = local_world_size,
          .shares_gathered = false,
          .loads_here = false,
          .process = reserved};
}

MemoryPlan plan_memory(const data::LlamaConfig& model, const Config& config, const ElementSizes& bytes,
                       const Placement& placement, bool keep_activations) {
  const ModelSizes m(model);
  const int64_t tokens = config.batch.micro_batch * config.batch.sequence_length;
  const CacheSize cache = cache_size(m, config.quant);
  const int64_t per_layer = keep_activations ? cache_bytes(cache, bytes.compute) : m.width() * bytes.compute;
  MemoryPlan plan;
  plan.process = placement.process;
  plan.shard = m.shard_elements(placement.world_size) * bytes.storage;
  plan.gathered = gathered_bytes(m, bytes, placement);
  // In fp32 the network looks through the rotations themselves.
  plan.rotations = m.rotation_elements() * (kFloat + (bytes.compute == kFloat ? 0 : bytes.compute));
  plan.optimizer = (m.rotation_elements() + learned_elements(m, config.rotation)) * kFloat;
  plan.keeps_activations = keep_activations;
  plan.activations = tokens * m.layers() * per_layer;
  plan.loss = loss_bytes(m, config, bytes.compute, placement.threads);
  plan.layer = backward_bytes(m, config.batch, bytes.compute, placement.threads) +
               tokens * (cache_bytes(cache, bytes.compute) - per_layer);
  plan.update = update_bytes(m, config, placement.world_size);
  if (placement.loads_here) {
    plan.load = dist::RowPartition(m.vocabulary(), placement.world_size).count(0) * m.width() *
                (bytes.storage + kFloat);
  }
  return plan;
}

MemoryPlan choose_plan(const data::LlamaConfig& model, const Config& config, const ElementSizes& bytes,
                       const Placement& placement, int64_t available) {
  const MemoryPlan kept = plan_memory(model, config, bytes, placement, true);
  const Activations asked = config.compute.activations;
  const bool fits = static_cast<double>(kept.total()) <= kKeepBelow * static_cast<double>(available);
  if (asked == Activations::kKeep || (asked == Activations::kAuto && fits)) return kept;
  return plan_memory(model, config, bytes, placement, false);
}

int64_t MemoryPlan::total() const {
  const int64_t running =
      gathered + rotations + optimizer + std::max(activations + std::max(loss, layer), update);
  return process + shard + std::max(running, load);
}

std::string MemoryPlan::describe() const {
  const auto text = [](int64_t n) { return humanize_bytes(static_cast<uint64_t>(n)); };
  return fmt::format(
      "{} (weights {}, gathered {}, {} activations {}, one layer {}, loss {}, rotations {}, optimizer {}, "
      "update {})",
      text(total()), text(shard), text(gathered), keeps_activations ? "kept" : "recomputed",
      text(activations), text(layer), text(loss), text(rotations), text(optimizer), text(update));
}

int64_t available_memory() {
  std::ifstream file("/proc/meminfo");
  std::string name;
  int64_t kib = 0;
  while (file >> name >> kib) {
    if (name == "MemAvailable:") return kib * 1024;
    file.ignore(std::numeric_limits<std::streamsize>::max(), '\n');
  }
  return 0;
}

}  // namespace spq::trainer
