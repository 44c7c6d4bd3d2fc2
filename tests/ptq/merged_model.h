// Models merged into temporary folders, and their logits.
#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "data/llama_config.h"
#include "data/rotations.h"
#include "model/layer.h"
#include "tests/support/golden.h"

namespace spq::test {

/// Dense random R1 and R2 (not symmetric, so that a transpose in the wrong place shows).
data::Rotations random_rotations(const data::LlamaConfig& config, int64_t seed);

/// What to merge; undefined R1, empty R2: nothing.
struct Merge {
  data::Rotations rotations = {};
  bool r4 = false;
  bool r3_online = false;
  bool centre_embedding = false;
};

/// Merges by spq-ptq's own pipeline, weights not quantized; `out` is new or empty. Errors as run_ptq.
void merge_model(const std::filesystem::path& source, const std::filesystem::path& out, const Merge& merge);

/// Logits of ids int64 [batch, length] in fp32, loaded as the trainer loads a model. No frames: full
/// precision.
at::Tensor logits_of(const std::filesystem::path& model_dir, const at::Tensor& ids);

/// The same with quantizers, each layer looking through its frames.
at::Tensor logits_of(const std::filesystem::path& model_dir, const at::Tensor& ids,
                     const model::QuantScheme& scheme, const std::vector<model::LayerFrames>& frames);

/// Copies a model to `to`, its tensors changed by `edit`.
void copy_model(const std::filesystem::path& from, const std::filesystem::path& to,
                const std::function<void(TensorMap&)>& edit);

/// Copies a model to `to` with only the first `size` of its intermediate values.
void narrow_mlp(const std::filesystem::path& from, const std::filesystem::path& to, int64_t size);

}  // namespace spq::test
