// Everything a run reads before its first collective: opened, checked against one another, nothing trained.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <string>
#include <vector>

#include "core/fact.h"
#include "data/llama_config.h"
#include "data/model_files.h"
#include "data/token_file.h"
#include "model/network.h"
#include "trainer/config.h"
#include "trainer/memory_plan.h"

namespace spq::trainer {

struct Job {
  Config config;
  data::LlamaConfig model;
  std::unique_ptr<data::ModelFiles> files;
  std::unique_ptr<data::TokenFile> train;
  std::unique_ptr<data::TokenFile> heldout;   // null: no held-out evaluation
  at::ScalarType storage_dtype = at::kFloat;  // of the checkpoint
  at::ScalarType compute_dtype = at::kFloat;
  MemoryPlan memory;
  c10::Device device = at::kCPU;  // of this rank
};

/// True where this processor multiplies bf16 matrices faster than fp32 ones (AMX or AVX-512 bf16).
bool has_fast_bf16();

/// Opens and checks model, tokens and sizes for `config` (already validated). `fast_bf16`: whether every
/// rank's processor (or GPU) has it. Error naming the file or key on: anything the data readers refuse,
/// tokens of another vocabulary, fewer tokens than one sequence, sequences longer than the model's positions,
/// group sizes that do not divide their rows, bf16 without the processor for it, memory that does not fit.
/// `gpu_memory`: bytes that this rank may use on its GPU; 0: it computes on the CPU.
Job open_job(const Config& config, int world_size, int local_world_size, bool fast_bf16, int64_t gpu_memory);

/// The files of an opened job as facts for dist::check_same_everywhere: weights and tokens.
std::vector<Fact> input_facts(const Job& job);

}  // namespace spq::trainer
