// The configuration of spq-ptq. Defaults live here; docs/configuration-ptq.md is generated from the keys.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "data/config_key.h"
#include "model/quant_config.h"
#include "model/rotation_start.h"
#include "ptq/common_keys.h"
#include "ptq/evaluate.h"
#include "ptq/layer_quantizer.h"

namespace spq::ptq {

struct RotateConfig {
  model::RotationSource r1 = model::RotationSource::kIdentity;
  model::RotationSource r2 = model::RotationSource::kIdentity;
  std::string file;  // spq checkpoint or R.bin, for source `file`
  int64_t seed = 0;
  bool r3_hadamard = true;  // online, on keys and queries, while evaluating and calibrating
  bool r4_hadamard = true;  // folded into down_proj; the runtime must apply it online
  bool centre_embedding = false;
};

struct WeightsConfig {
  Method method = Method::kGptq;
  int64_t bits = 4;
  int64_t q_bits = 0, k_bits = 0, v_bits = 0, o_bits = 0;  // 0: as bits
  int64_t gate_bits = 0, up_bits = 0, down_bits = 0;
  bool symmetric = true;
  int64_t group_size = -1;
  bool mse_clip = true;
};

struct GptqConfig {
  double percdamp = 0.01;
  int64_t block_size = 128;
  bool act_order = false;
  bool static_groups = false;
  bool reference_group_scales = false;
  double alpha = 0.25;  // GPTAQ
};

struct CalibrationConfig {
  std::string tokens;
  int64_t samples = 128;
  int64_t sequence_length = 2048;
  int64_t seed = 0;
  bool quantize_activations = false;
};

struct PtqEvalConfig {
  std::string tokens;  // empty: no evaluation
  int64_t sequence_length = 2048;
  int64_t sequences = 0;
  int64_t micro_batch = 1;
  WindowBos bos;
};

struct SaveConfig {
  bool integers = true;
};

struct PtqConfig {
  std::string model;
  std::string output_dir;
  RotateConfig rotate;
  WeightsConfig weights;
  GptqConfig gptq;
  model::QuantConfig quant;  // activations, keys, values
  CalibrationConfig calibration;
  SaveConfig save;
  PtqEvalConfig eval;
  ComputeConfig compute;
};

/// One entry per key, bound to the fields of `config`.
std::vector<data::Key> bind_keys(PtqConfig& config);

/// Reads and checks a configuration. Error as data/config_yaml.h says, and naming the keys that contradict
/// each other.
PtqConfig load_ptq_config(const std::filesystem::path& path, std::span<const std::string> overrides);

/// "key: value" lines of the keys on which the weights of the result depend. Paths of files are not among
/// them: what the files hold counts.
std::string result_keys(const PtqConfig& config);

/// What layer_quantizer needs to know, for a model stored in `storage_dtype`.
WeightScheme weight_scheme(const PtqConfig& config, at::ScalarType storage_dtype);

}  // namespace spq::ptq
