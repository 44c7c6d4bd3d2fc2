#include "trainer/job.h"

#include "core/error.h"
#include "core/text.h"
#include "model/sharded_load.h"

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

std::unique_ptr<data::TokenFile> open_tokens(const std::string& path, const Config& config,
                                             const data::LlamaConfig& model) {
  auto tokens = std::make_unique<data::TokenFile>(path);
  check(tokens->vocab_size() <= model.vocab_size,
        "{}: written with a tokenizer of {} tokens, but the model {} has a vocabulary of {}: make the tokens "
        "with the "
        "model's own tokenizer.json (tools/tokenize.py)",
        path, tokens->vocab_size(), config.model, model.vocab_size);
  check(tokens->size() >= config.batch.sequence_length,
        "{}: {} tokens are fewer than one sequence (batch.sequence_length is {})", path, tokens->size(),
        config.batch.sequence_length);
  return tokens;
}

void check_group(const char* key, const QuantizerConfig& quantizer, int64_t row, const char* what) {
  if (quantizer.bits >= 16 || quantizer.group_size < 0) return;
  check(row % quantizer.group_size == 0, "{}.group_size is {}, which does not divide the model's {} {}", key,
        quantizer.group_size, what, row);
}

void check_sizes(const Config& config, const data::LlamaConfig& model) {
  check(config.batch.sequence_length <= model.max_position,
        "batch.sequence_length is {}, but the model {} has positions for {} (max_position_embeddings)",
        config.batch.sequence_length, config.model, model.max_position);
  check_group("quant.activation", config.quant.activation, model.hidden_size, "hidden_size");
  check_group("quant.activation", config.quant.activation, model.intermediate_size, "intermediate_size");
  check_group("quant.key", config.quant.key, model.head_dim, "head_dim");
  check_group("quant.value", config.quant.value, model.head_dim, "head_dim");
}

void check_memory(const MemoryPlan& plan, int local_world_size) {
  const int64_t available = available_memory();
  if (available == 0) return;
  const int64_t needed = plan.total() * local_world_size;
  check(needed <= available,
        "{} rank(s) on this host need {} together, {} are available; one rank needs {}. Use more hosts, a "
        "smaller "
        "batch.micro_batch or batch.sequence_length, or compute.dtype bf16",
        local_world_size, humanize_bytes(static_cast<uint64_t>(needed)),
        humanize_bytes(static_cast<uint64_t>(available)), plan.describe());
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
  check_sizes(config, job.model);
  job.train = open_tokens(config.data.train, config, job.model);
  if (!config.data.heldout.empty()) job.heldout = open_tokens(config.data.heldout, config, job.model);
  job.storage_dtype = job.files->dtype("model.layers.0.self_attn.q_proj.weight");
  job.compute_dtype = choose_dtype(config.compute.dtype, job.storage_dtype, fast_bf16);
  job.memory = plan_memory(job.model, config, static_cast<int64_t>(c10::elementSize(job.storage_dtype)),
                           static_cast<int64_t>(c10::elementSize(job.compute_dtype)), world_size);
  check_memory(job.memory, local_world_size);
  return job;
}

}  // namespace spq::trainer
