// The one configuration struct of spq-train. Defaults live here and in model/quant_config.h;
// docs/configuration.md is generated from trainer/config_keys.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/compute_device.h"
#include "model/quant_config.h"

namespace spq::trainer {

using model::QuantConfig;
using model::QuantizerConfig;

enum class RotationKind { kLearned, kHadamard, kRandom, kIdentity, kFile };

struct RotationConfig {
  RotationKind r1 = RotationKind::kLearned;
  RotationKind r2 = RotationKind::kLearned;
  RotationKind start =
      RotationKind::kHadamard;  // where learned rotations start: hadamard, random, identity or file
  std::string file;             // HDF5 checkpoint or R.bin, for kind or start `file`
  bool r3_hadamard = true;      // keys and queries after RoPE
  bool r4_hadamard = true;      // input of down_proj
  int64_t seed = 0;             // random signs and random orthogonal matrices
};

enum class Schedule { kCosine, kLinear, kConstant };

struct OptimizerConfig {
  int64_t steps = 100;
  double learning_rate = 1.5;
  Schedule schedule = Schedule::kCosine;
  double momentum = 0.0;        // [0, 1)
  double clip_norm = 0.0;       // on the joint tangential norm; 0: no clip
  int64_t iterations = 5;       // fixed-point iterations of the Cayley transform
  double retract_above = 1e-5;  // max |X^T X - I| past which X is made orthogonal again
};

struct BatchConfig {
  int64_t sequences = 8;           // global: over all ranks and accumulation
  int64_t sequence_length = 2048;  // tokens
  int64_t micro_batch = 1;         // sequences a rank computes at once
};

struct DataConfig {
  std::string train;     // token file
  std::string heldout;   // token file; empty: no held-out evaluation
  bool shuffle = false;  // false: document order
  int64_t seed = 0;      // of the shuffle
};

enum class ComputeDtype { kAuto, kFp32, kBf16 };

/// From forward to backward: what a layer computed is kept, or only its input.
enum class Activations { kAuto, kKeep, kRecompute };

struct ComputeConfig {
  ComputeDevice device = ComputeDevice::kAuto;
  ComputeDtype dtype = ComputeDtype::kAuto;
  Activations activations = Activations::kAuto;
  int64_t threads = 0;               // per rank; 0: cores of the host / ranks on the host
  int64_t loss_chunk = 512;          // tokens whose logits exist at once
  double collective_timeout = 1800;  // seconds; 0: none
};

struct EvalConfig {
  int64_t every = 0;  // steps between held-out evaluations; 0: only before the first step and after the last
  int64_t sequences = 0;            // windows of sequence_length to use; 0: all
  bool channel_magnitudes = false;  // write channels.json, the picture's data, at the end
};

struct CheckpointConfig {
  int64_t every = 20;  // steps; 0: only at the end
  int64_t keep = 2;
  std::string resume = "auto";  // auto: newest in output_dir, if any; never; or a checkpoint file
  bool write_rbin = true;       // R.bin beside the final checkpoint
  bool stop_on_error = true;    // false: a checkpoint that cannot be written is left out
};

struct Config {
  std::string model;       // Hugging Face directory
  std::string output_dir;  // checkpoints, metrics.jsonl, config.yaml
  QuantConfig quant;
  RotationConfig rotation;
  OptimizerConfig optimizer;
  BatchConfig batch;
  DataConfig data;
  ComputeConfig compute;
  EvalConfig eval;
  CheckpointConfig checkpoint;
};

}  // namespace spq::trainer
