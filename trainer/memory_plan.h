// What a rank's memory holds at its peak, from sizes alone.
#pragma once

#include <cstdint>
#include <string>

#include "data/llama_config.h"
#include "trainer/config.h"
#include "trainer/model_sizes.h"

namespace spq::trainer {

/// Where the ranks are.
struct Placement {
  int world_size = 1;
  int local_world_size = 1;  // ranks on a host; the hosts have equally many where it divides world_size
  /// The ranks of a host keep one copy of what is gathered (dist/shard_store.h). False: each its own, as on
  /// GPUs and where ranks cannot share.
  bool shares_gathered = true;
  bool loads_here = true;  // weights are folded in the memory that is planned; GPUs get them from the host
  int threads = 0;         // of a rank; each has buffers of its own in matrix products and attention
  int64_t process = 0;     // bytes a rank has before it reads anything: program, libraries, GPU context
};

/// Placement of CPU ranks with this many threads each; 0: this host's processors over its ranks.
Placement on_hosts(int world_size, int local_world_size, int64_t threads);

/// What is kept free on a GPU: NCCL's and cuBLAS's buffers, fragmentation. As assumed in
/// configs/devices.yaml.
inline constexpr int64_t kGpuReserve = 2'500'000'000;

/// Placement of ranks with a GPU each, of which `reserved` bytes are kept free.
Placement on_gpus(int world_size, int local_world_size, int64_t reserved);

/// Bytes of one rank (the one with the largest shard), its part of what a host shares included.
struct MemoryPlan {
  // All the time:
  int64_t process = 0;
  int64_t shard = 0;      // frozen weights owned
  int64_t gathered = 0;   // buffers for two units, and the unit in use in the compute dtype
  int64_t rotations = 0;  // matrices in fp32 and in the compute dtype
  int64_t optimizer = 0;  // moments and momentum
  // From forward to backward, per layer: its input, or all that the backward pass needs:
  int64_t activations = 0;
  bool keeps_activations = false;
  // One after the other:
  int64_t loss = 0;    // logits of one chunk, and the gradients around them
  int64_t layer = 0;   // workspace of one layer at its widest, recomputed activations included
  int64_t update = 0;  // temporaries of the Cayley step
  int64_t load = 0;    // while weights are read: the largest matrix while its norm is folded in

  int64_t total() const;
  std::string describe() const;  // one line
};

/// With activations kept or recomputed, whatever the configuration says.
MemoryPlan plan_memory(const data::LlamaConfig& model, const Config& config, const ElementSizes& bytes,
                       const Placement& placement, bool keep_activations);

/// As compute.activations says; auto keeps them where the total then fits in nine tenths of `available`
/// bytes per rank.
MemoryPlan choose_plan(const data::LlamaConfig& model, const Config& config, const ElementSizes& bytes,
                       const Placement& placement, int64_t available);

/// Bytes the kernel says can be had without swapping (MemAvailable of /proc/meminfo); 0 when it does not say.
int64_t available_memory();

}  // namespace spq::trainer
