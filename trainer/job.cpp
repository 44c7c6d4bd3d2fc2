#include "trainer/job.h"

#include "core/error.h"
#include "core/text.h"
#include "data/facts.h"
#include "data/token_windows.h"
#include "model/quant_config.h"
#include "model/sharded_load.h"
#include "trainer/memory_advice.h"

namespace spq::trainer {
namespace {

at::ScalarType choose_dtype(ComputeDtype asked, at::ScalarType storage, bool fast_bf16) {
  switch (asked) {
    case ComputeDtype::kFp32:
      return at::kFloat;
    case ComputeDtype::kBf16:
      check(fast_bf16,
            "compute.dtype is bf16, but a rank's processor has no fast bf16 matrix products (AMX or AVX-512 "
            "bf16): use fp32 or auto");
      return at::kBFloat16;
    case ComputeDtype::kAuto:
      return fast_bf16 && storage == at::kBFloat16 ? at::kBFloat16 : at::kFloat;
  }
  fail("unknown compute dtype");
}

std::string advice_for(const Job& job, const ElementSizes& bytes, const Placement& placement,
                       int64_t available_each) {
  std::string advice;
  for (const std::string& way : ways_to_fit(job.model, job.config, bytes, placement, available_each)) {
    advice += (advice.empty() ? "; it fits with " : ", or with ") + way;
  }
  return advice.empty() ? "; no number of hosts makes it fit: use a smaller batch.sequence_length" : advice;
}

std::string bytes_text(int64_t bytes) {
  return humanize_bytes(static_cast<uint64_t>(bytes));
}

void check_memory(const Job& job, const ElementSizes& bytes, const Placement& placement, int64_t available) {
  const int64_t needed = job.memory.total() * placement.local_world_size;
  if (available == 0 || needed <= available) return;
  fail("{} rank(s) on this host need {} together, {} are available; one rank needs {}{}",
       placement.local_world_size, bytes_text(needed), bytes_text(available), job.memory.describe(),
       advice_for(job, bytes, placement, available / placement.local_world_size));
}

// The host's memory holds what the ranks read until it is on their GPUs.
void check_gpu_memory(const Job& job, const ElementSizes& bytes, const Placement& placement,
                      int64_t gpu_memory, int64_t host_memory) {
  if (job.memory.total() > gpu_memory) {
    fail("this rank needs {} of its GPU's memory, {} are available; it needs {}, and {} are kept free{}",
         bytes_text(job.memory.total()), bytes_text(gpu_memory), job.memory.describe(),
         bytes_text(placement.process), advice_for(job, bytes, placement, gpu_memory));
  }
  const int64_t read = job.memory.shard * placement.local_world_size;
  check(host_memory == 0 || read <= host_memory,
        "the {} rank(s) on this host read {} of weights before they are on the GPUs, {} of its memory are "
        "available: use more hosts",
        placement.local_world_size, bytes_text(read), bytes_text(host_memory));
}

}  // namespace

// Every processor with AMX has AVX-512 bf16 too.
bool has_fast_bf16() {
  return __builtin_cpu_supports("avx512bf16") != 0;
}

Job open_job(const Config& config, int world_size, int local_world_size, bool fast_bf16, int64_t gpu_memory) {
  Job job;
  job.config = config;
  job.model = data::read_llama_config(config.model);
  job.files = std::make_unique<data::ModelFiles>(config.model);
  model::check_model_files(*job.files, job.model);
  model::check_groups(config.quant, job.model);
  const auto open_tokens = [&](const std::string& path) {
    return data::open_token_windows(path, config.batch.sequence_length, "batch.sequence_length", job.model,
                                    config.model);
  };
  job.train = open_tokens(config.data.train);
  if (!config.data.heldout.empty()) job.heldout = open_tokens(config.data.heldout);
  job.storage_dtype = job.files->dtype("model.layers.0.self_attn.q_proj.weight");
  job.compute_dtype = choose_dtype(config.compute.dtype, job.storage_dtype, fast_bf16);
  const ElementSizes bytes = {static_cast<int64_t>(c10::elementSize(job.storage_dtype)),
                              static_cast<int64_t>(c10::elementSize(job.compute_dtype))};
  const int64_t available = available_memory();
  if (gpu_memory > 0) {
    check(job.model.head_dim % 8 == 0 && job.model.head_dim <= 256,
          "{}: head_dim is {}, attention on a GPU takes multiples of 8 up to 256: set compute.device to cpu",
          config.model, job.model.head_dim);
    const Placement placement = on_gpus(world_size, local_world_size, kGpuReserve);
    job.memory = choose_plan(job.model, config, bytes, placement, gpu_memory);
    check_gpu_memory(job, bytes, placement, gpu_memory, available);
    return job;
  }
  const Placement placement = on_hosts(world_size, local_world_size, config.compute.threads);
  job.memory = choose_plan(job.model, config, bytes, placement, available / local_world_size);
  check_memory(job, bytes, placement, available);
  return job;
}

std::vector<Fact> input_facts(const Job& job) {
  return {data::weights_fact(*job.files), data::sampled_fact("tokens of data.train", job.config.data.train),
          data::sampled_fact("tokens of data.heldout", job.config.data.heldout)};
}

}  // namespace spq::trainer
