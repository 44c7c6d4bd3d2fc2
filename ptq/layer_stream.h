// Calibration sequences on their way through one layer, from the inputs of one group of projections to those
// of the next.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "model/layer.h"
#include "ptq/layer_quantizer.h"

namespace spq::ptq {

/// Projections that read the same tensor, in the order in which a sequence meets them.
enum class Projection { kQkv, kOutput, kGateUp, kDown };

/// m^T in `dtype`, contiguous.
at::Tensor transposed(const at::Tensor& m, at::ScalarType dtype);

/// One network's calibration sequences on their way through a layer, `sequences` the residual streams. Stages
/// come in the order of Projection. All arguments have to outlive it; weights are read when a stage is
/// loaded.
class LayerStream {
 public:
  LayerStream(const LayerPlace& place, const LayerMatrices& weights, const model::QuantScheme& scheme,
              std::vector<at::Tensor>& sequences)
      : place_(place), weights_(weights), scheme_(scheme), h_(sequences), x_(sequences.size()) {}

  /// Converts the weights through which sequences pass on their way to `stage`.
  void load(Projection stage);
  /// down_proj as well: for finish().
  void load_down();
  /// Takes sequence i from the input of the group before to that of `stage`, which is returned.
  at::Tensor step(Projection stage, size_t i);
  /// Takes sequence i, whose input of down_proj is x, to the layer's output.
  void finish(size_t i, const at::Tensor& x);

 private:
  const LayerPlace& place_;
  const LayerMatrices& weights_;
  const model::QuantScheme& scheme_;
  std::vector<at::Tensor>& h_;  // residual stream
  std::vector<at::Tensor> x_;   // what the projections at work read, but for down_proj
  model::LayerWeights ready_;   // in the compute dtype
};

}  // namespace spq::ptq
