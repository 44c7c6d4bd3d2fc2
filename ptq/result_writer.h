// The folder that spq-ptq writes.
#pragma once

#include <cstdint>
#include <string>

#include "data/model_writer.h"
#include "data/rotations.h"
#include "ptq/inputs.h"

namespace spq::ptq {

/// Writes the result layer by layer, on one rank. Each layer is a file of the model that appears whole, after
/// its integers (integers/layer-00001.safetensors: of each quantized projection .codes [out, in], .scale
/// [out, groups], with a zero point .zero int32 [out, groups], and .group_index int32 [in] where groups are
/// not neighbours). What a killed run finished is kept. Config and inputs must outlive it.
class ResultWriter {
 public:
  /// `run`: what the result depends on, as "key: value" lines. Errors as data::ModelWriter.
  ResultWriter(const PtqConfig& config, const PtqInputs& inputs, const std::string& run);

  /// Layers 0 .. n - 1 are in the folder already.
  int64_t finished_layers() const { return finished_layers_; }

  /// The matrices of a finished layer.
  LayerMatrices read_layer(int64_t layer) const;

  void write_layer(int64_t layer, const QuantizedLayer& quantized);

  /// Embedding, head, manifest, and where something was rotated rotation.h5 and R.bin with `whole`, all
  /// rotations, identities included. `merged`: those to merge, undefined where there is nothing to merge.
  void finish(const data::Rotations& merged, const data::Rotations& whole,
              const data::TransformManifest& manifest);

 private:
  void write_integers(int64_t layer, const QuantizedLayer& quantized) const;
  void write_rotations(const data::Rotations& whole) const;

  const PtqConfig& config_;
  const PtqInputs& inputs_;
  data::ModelWriter model_;
  int64_t finished_layers_ = 0;
};

}  // namespace spq::ptq
