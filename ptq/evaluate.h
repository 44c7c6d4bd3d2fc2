// Perplexity of a model directory, quantizers and online transforms on.
#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "data/llama_config.h"
#include "data/token_file.h"
#include "data/transform_manifest.h"
#include "dist/communicator.h"
#include "model/network.h"
#include "model/quant_config.h"
#include "model/sharded_perplexity.h"

namespace spq::ptq {

/// Online transforms that a user asks for.
struct Online {
  bool r3_hadamard = true;
  bool r4_hadamard = true;
};

/// Whether a BOS token goes in front of every window of the text.
struct WindowBos {
  bool each_window = false;
  int64_t id = -1;  // -1: the one in the model's config.json
};

/// The token that `bos` puts in front of every window of `tokens`; -1: none. Error naming config.json or the
/// key when the model has no such token, and naming the file when it begins with that token already.
int64_t window_bos_id(const std::filesystem::path& model_dir, const data::TokenFile& tokens,
                      const WindowBos& bos);

/// Frames of a layer whose R1 and R2, if any, are merged: keys through R3, down_proj's input through R4.
/// Where `manifest` says that R4 is folded into the weights its input stays transformed. Error naming
/// `model_dir` when the weights need an online R4 that `online` turns off, or hold another transform than the
/// one this program would apply.
model::LayerFrames merged_frames(const std::filesystem::path& model_dir, const data::LlamaConfig& config,
                                 const std::optional<data::TransformManifest>& manifest,
                                 const Online& online);

/// exp(mean next-token loss) of `model_dir` over the windows of `tokens`. Weights are sharded over the ranks,
/// windows split. Collective; same value on every rank. `comm` and `device`: model/sharded_device.h.
double evaluate_model(dist::Communicator& comm, const std::filesystem::path& model_dir,
                      const data::TokenFile& tokens, const model::PerplexityOptions& options,
                      const model::QuantConfig& quant, const Online& online, at::ScalarType compute_dtype,
                      c10::Device device = at::kCPU);

}  // namespace spq::ptq
