#include "trainer/job.h"

#include "core/error.h"
#include "core/text.h"
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

void check_memory(const Job& job, const ElementSizes& bytes, const Placement& placement, int64_t available) {
  const int64_t needed = job.memory.total() * placement.local_world_size;
  if (available == 0 || needed <= available) return;
  const std::vector<std::string> ways =
      ways_to_fit(job.model, job.config, bytes, placement, available / placement.local_world_size);
  std::string advice;
  for (const std::string& way : ways) advice += (advice.empty() ? "; it fits with " : ", or with ") + way;
  fail("{} rank(s) on this host need {} together, {} are available; one rank needs {}{}",
       placement.local_world_size, humanize_bytes(static_cast<uint64_t>(needed)),
       humanize_bytes(static_cast<uint64_t>(available)), job.memory.describe(),
       advice.empty() ? "; no number of hosts makes it fit: use a smaller batch.sequence_length" : advice);
}

}  // namespace

// Every processor with AMX has AVX-512 bf16 too.
bool has_fast_bf16() {
  return __builtin_cpu_supports("avx512bf16") != 0;
}

Job open_job(const Config& config, int world_size, int local_world_size, bool fast_bf16) {
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
  const Placement placement = on_hosts(world_size, local_world_size, config.compute.threads);
  const int64_t available = available_memory();
  job.memory = choose_plan(job.model, config, bytes, placement, available / local_world_size);
  check_memory(job, bytes, placement, available);
  return job;
}

}  // namespace spq::trainer
