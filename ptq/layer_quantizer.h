// Quantizes the projections of one decoder layer, each group against the inputs that the groups before it
// leave.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "dist/communicator.h"
#include "model/layer.h"
#include "ptq/gptq.h"

namespace spq::ptq {

enum class Method { kNone, kRtn, kGptq, kGptaq };

/// How the weights of all layers are quantized.
struct WeightScheme {
  Method method = Method::kGptq;
  WeightQuantSpec spec;       // every projection but down_proj
  WeightQuantSpec down_spec;  // down_proj
  FactorOptions factor;
  GptqOptions gptq;
  bool quantize_activations =
      false;  // the quantizers of activations, keys and values are on while calibrating
};

/// A projection's weight, [out, in] as Hugging Face stores it.
struct LayerMatrices {
  at::Tensor q, k, v, o, gate, up, down;

  /// As the network reads them, in `dtype`.
  model::LayerWeights network(at::ScalarType dtype) const;
};

/// What quantizing a layer gave. `weights` hold exactly the values that the integers stand for.
struct QuantizedLayer {
  LayerMatrices weights;
  std::map<std::string, GptqResult> integers;   // by projection name: "self_attn.q_proj", ...
  std::map<std::string, double> relative_loss;  // proxy loss over that of rounding to nearest; GPTQ and GPTAQ
  int damping_raised = 0;                       // how often damping had to be raised, over all groups
};

/// This rank's calibration sequences as they enter the layer: [length, d] each.
struct CalibrationInputs {
  std::vector<at::Tensor> quantized;  // behind quantized layers
  std::vector<at::Tensor> full;       // behind unquantized layers; GPTAQ only, otherwise empty
};

/// Where the layer stands: frames of merged weights, quantizers that are on, dtype to compute in.
struct LayerPlace {
  const data::LlamaConfig* config;
  const model::RopeTable* rope;
  const model::QuantScheme* scheme;  // of activations, keys and values
  model::LayerFrames frames;
  at::ScalarType compute_dtype;
  std::string name;  // for messages: "model.layers.3"
};

/// Order: q, k and v; o; gate and up; down, each group with the moments of its inputs in the network whose
/// earlier groups are quantized (GPTQ 3.3; GPTAQ adds the difference to the inputs of the unquantized
/// network). RTN looks at no input. Samples of all ranks count; rows are split over the ranks. Same bits on
/// every rank. Collective.
QuantizedLayer quantize_layer(dist::Communicator& comm, const LayerPlace& place, const LayerMatrices& weights,
                              const CalibrationInputs& inputs, const WeightScheme& scheme);

/// Replaces the inputs by the layer's outputs: behind `quantized` weights, and behind `full` ones where they
/// are followed.
void advance(CalibrationInputs& inputs, const LayerPlace& place, const LayerMatrices& quantized,
             const LayerMatrices& full, const WeightScheme& scheme);

}  // namespace spq::ptq
