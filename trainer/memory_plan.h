// What a rank's memory holds at its peak, from sizes alone.
#pragma once

#include <cstdint>
#include <string>

#include "data/llama_config.h"
#include "trainer/config.h"

namespace spq::trainer {

/// Bytes of one rank (the one with the largest shard).
struct MemoryPlan {
  int64_t shard = 0;        // frozen weights owned
  int64_t gathered = 0;     // the unit in use and the one in flight, in the dtypes in which they are held
  int64_t activations = 0;  // layer inputs of a micro-batch, and one layer's tensors forward and backward
  int64_t loss = 0;         // logits of one chunk, as they are and in fp32, and the gradients around them
  int64_t rotations = 0;    // matrices, moments, momentum and the update's temporaries
  int64_t total() const { return shard + gathered + activations + loss + rotations; }
  std::string describe() const;  // one line
};

MemoryPlan plan_memory(const data::LlamaConfig& model, const Config& config, int64_t storage_bytes,
                       int64_t compute_bytes, int world_size);

/// Bytes the kernel says can be had without swapping (MemAvailable of /proc/meminfo); 0 when it does not say.
int64_t available_memory();

}  // namespace spq::trainer
