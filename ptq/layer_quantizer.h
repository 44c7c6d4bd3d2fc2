// Quantizes the projections of one decoder layer, each group against the inputs that the groups before it
// leave.
#pragma once

#include <ATen/core/Tensor.h>

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "dist/communicator.h"
#include "model/layer.h"
#include "ptq/gptq.h"

namespace spq::ptq {

enum class Method { kNone, kRtn, kGptq, kGptaq };

/// How each projection is quantized; one of 16 bits stays as it is.
struct ProjectionSpecs {
  WeightQuantSpec q, k, v, o, gate, up, down;

  /// The spec of "self_attn.q_proj", "mlp.down_proj", ... Throws Error for another name.
  const WeightQuantSpec& of(std::string_view projection) const;
};

/// How the weights of all layers are quantized.
struct WeightScheme {
  Method method = Method::kGptq;
  ProjectionSpecs specs;
  FactorOptions factor;
  GptqOptions gptq;
  bool quantize_activations =
      false;  // the quantizers of activations, keys and values are on while calibrating
};

/// A projection's weight, [out, in] as Hugging Face stores it.
struct LayerMatrices {
  at::Tensor q, k, v, o, gate, up, down;

  /// As the network reads them, in `dtype` on `device`.
  model::LayerWeights network(at::ScalarType dtype, c10::Device device = at::kCPU) const;
};

/// What quantizing a layer gave. `weights` hold exactly the values that the integers stand for.
struct QuantizedLayer {
  LayerMatrices weights;
  std::map<std::string, GptqResult> integers;  // by projection name: "self_attn.q_proj", ...
  // Proxy loss over that of rounding to nearest, both of the same 64 rows at most; GPTQ and GPTAQ.
  std::map<std::string, double> relative_loss;
  int damping_raised = 0;  // how often damping had to be raised, over all groups
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
  std::string name;               // for messages: "model.layers.3"
  bool is_last = false;           // nobody wants the layer's outputs
  c10::Device device = at::kCPU;  // of the inputs and of `rope`; matrices come and go in host memory
};

/// Order: q, k and v; o; gate and up; down, each group with the moments of its inputs in the network whose
/// earlier groups are quantized (GPTQ 3.3; GPTAQ adds the difference to the inputs of the unquantized
/// network). RTN looks at no input. Samples of all ranks count; rows are split over the ranks. Same bits on
/// every rank. Collective.
///
/// `inputs` become the layer's outputs: behind the quantized weights, and behind `weights` for inputs.full;
/// behind the last layer they are cleared. Each sequence goes through each stage of the layer once, but
/// through gate and up again once down_proj is quantized. Memory besides `weights` and the result: the
/// inputs once more (what the stage at work reads), one sequence's activations, the moments and factor of
/// one group and its weights in the compute dtype.
QuantizedLayer quantize_layer(dist::Communicator& comm, const LayerPlace& place, const LayerMatrices& weights,
                              CalibrationInputs& inputs, const WeightScheme& scheme);

/// Moves the inputs past a layer that is quantized already, to resume behind it: they become, bit for bit,
/// what quantize_layer made of them.
void advance(CalibrationInputs& inputs, const LayerPlace& place, const LayerMatrices& quantized,
             const LayerMatrices& full, const WeightScheme& scheme);

}  // namespace spq::ptq
