// What a run of spq-ptq reads, opened and checked before anything is computed.
#pragma once

#include <memory>
#include <vector>

#include "core/fact.h"
#include "data/llama_config.h"
#include "data/model_files.h"
#include "data/token_file.h"
#include "data/transform_manifest.h"
#include "ptq/layer_quantizer.h"
#include "ptq/merge.h"
#include "ptq/ptq_config.h"

namespace spq::ptq {

struct PtqInputs {
  data::LlamaConfig model;
  std::unique_ptr<data::ModelFiles> files;
  std::unique_ptr<data::TokenFile> calibration;  // null: the method looks at no inputs
  std::unique_ptr<data::TokenFile> eval;         // null: no evaluation
  int64_t eval_bos = -1;                         // token in front of every window; -1: none
  WeightScheme scheme;
  FoldedR4 fold_r4;                  // by this run
  data::TransformManifest manifest;  // of the result, all but the hashes of this run's rotations
};

/// Whether a method needs the inputs of the projections.
bool needs_calibration(Method method);

/// Reads headers only. Error naming the file or key on anything the data readers refuse, on tokens of another
/// vocabulary or fewer than a window, on tensors that a LLaMA does not have, on group sizes that do not
/// divide, on a model that was transformed before and would be rotated twice, quantized twice, or needs
/// another rotate.r4.
PtqInputs open_inputs(const PtqConfig& config);

/// The files of opened inputs as facts for dist::check_same_everywhere: weights, manifest, tokens.
std::vector<Fact> input_facts(const PtqInputs& inputs, const PtqConfig& config);

}  // namespace spq::ptq
