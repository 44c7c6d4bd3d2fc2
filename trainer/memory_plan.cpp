#include "trainer/memory_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <string>
#include <vector>

#include "core/text.h"
#include "dist/shard.h"

namespace spq::trainer {
namespace {

// Rows of the seven matrices of a layer, all of width d.
std::vector<int64_t> layer_rows(const data::LlamaConfig& m) {
  const int64_t heads = m.num_heads * m.head_dim;
  const int64_t kv = m.num_kv_heads * m.head_dim;
  return {heads, kv, kv, heads, m.intermediate_size, m.intermediate_size, m.intermediate_size};
}

int64_t layer_elements(const data::LlamaConfig& m) {
  int64_t rows = 0;
  for (int64_t r : layer_rows(m)) rows += r;
  return rows * m.hidden_size;
}

int64_t shard_elements(const data::LlamaConfig& m, int world_size) {
  int64_t rows = 2 * dist::RowPartition(m.vocab_size, world_size).count(0);
  for (int64_t r : layer_rows(m)) rows += m.num_layers * dist::RowPartition(r, world_size).count(0);
  return rows * m.hidden_size;
}

// The largest pair of units that stand next to each other in a walk: layer and layer, or layer and head.
int64_t gathered_bytes(const data::LlamaConfig& m, int64_t storage, int64_t compute, int world_size) {
  const int64_t layer = layer_elements(m);
  const int64_t head = m.vocab_size * m.hidden_size;
  const int64_t converted = storage == compute ? 0 : std::max(layer, head) * compute;
  if (world_size == 1) return converted;
  return (layer + std::max(m.num_layers > 1 ? layer : 0, head)) * storage + converted;
}

// Per token, in elements: layer inputs, then the tensors of one layer alive at the widest point of its
// backward pass.
int64_t activation_elements_per_token(const data::LlamaConfig& m) {
  const int64_t heads = m.num_heads * m.head_dim;
  const int64_t kv = m.num_kv_heads * m.head_dim;
  const int64_t kept = 4 * m.hidden_size + 4 * heads + 4 * kv + 2 * m.intermediate_size;
  const int64_t backward =
      std::max(4 * m.intermediate_size + 2 * m.hidden_size, 8 * heads + 4 * m.hidden_size);
  return (m.num_layers + 1) * m.hidden_size + kept + backward;
}

}  // namespace

MemoryPlan plan_memory(const data::LlamaConfig& m, const Config& config, int64_t storage_bytes,
                       int64_t compute_bytes, int world_size) {
  MemoryPlan plan;
  const int64_t tokens = config.batch.micro_batch * config.batch.sequence_length;
  const int64_t chunk = std::min(config.compute.loss_chunk, config.batch.sequence_length);
  plan.shard = shard_elements(m, world_size) * storage_bytes;
  plan.gathered = gathered_bytes(m, storage_bytes, compute_bytes, world_size);
  // fp32 copies of both factors of a moment, besides the tensors in the compute dtype.
  plan.activations = tokens * (activation_elements_per_token(m) * compute_bytes + 2 * m.hidden_size * 4);
  plan.loss = chunk * m.vocab_size * (4 + 2 * compute_bytes) + 4 * tokens * m.hidden_size * compute_bytes;
  const int64_t matrices = m.hidden_size * m.hidden_size + m.num_layers * m.head_dim * m.head_dim;
  // X, M, its direction and momentum whole; the iteration's temporaries (at most 8 matrices of one rotation's
  // size); the copy in the compute dtype.
  plan.rotations = matrices * (4 * 4 + compute_bytes) + 8 * 4 * m.hidden_size * m.hidden_size;
  return plan;
}

std::string MemoryPlan::describe() const {
  return fmt::format(
      "{} (weights {}, gathered {}, activations {}, loss {}, rotations {})",
      humanize_bytes(static_cast<uint64_t>(total())), humanize_bytes(static_cast<uint64_t>(shard)),
      humanize_bytes(static_cast<uint64_t>(gathered)), humanize_bytes(static_cast<uint64_t>(activations)),
      humanize_bytes(static_cast<uint64_t>(loss)), humanize_bytes(static_cast<uint64_t>(rotations)));
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
