// The configuration of spq-eval.
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "data/config_key.h"
#include "model/quant_config.h"

namespace spq::ptq {

struct EvalConfig {
  std::string model;
  std::string tokens;
  int64_t sequence_length = 2048;
  int64_t sequences = 0;
  int64_t micro_batch = 1;
  model::QuantConfig quant;
  bool r3_hadamard = true;
  bool r4_hadamard = true;
  bool fp32 = true;
  int64_t threads = 0;
};

/// One entry per key, bound to the fields of `config`.
std::vector<data::Key> bind_keys(EvalConfig& config);
EvalConfig load_eval_config(const std::filesystem::path& path, std::span<const std::string> overrides);

}  // namespace spq::ptq
