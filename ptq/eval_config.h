// The configuration of spq-eval.
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "data/config_key.h"
#include "model/quant_config.h"
#include "ptq/common_keys.h"
#include "ptq/evaluate.h"

namespace spq::ptq {

struct EvalConfig {
  std::string model;
  std::string tokens;
  int64_t sequence_length = 2048;
  int64_t sequences = 0;
  int64_t micro_batch = 1;
  WindowBos bos;
  model::QuantConfig quant;
  bool r3_hadamard = true;
  bool r4_hadamard = true;
  ComputeConfig compute;
};

/// PREFIXbos (none or each_window) and PREFIXbos_id, bound to `bos`; spq-ptq has them below eval.
void append_bos_keys(std::vector<data::Key>& keys, const std::string& prefix, WindowBos& bos);

/// One entry per key, bound to the fields of `config`.
std::vector<data::Key> bind_keys(EvalConfig& config);
EvalConfig load_eval_config(const std::filesystem::path& path, std::span<const std::string> overrides);

}  // namespace spq::ptq
