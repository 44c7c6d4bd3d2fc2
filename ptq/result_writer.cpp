#include "ptq/result_writer.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/floor_divide.h>

#include <array>
#include <utility>

#include "core/error.h"
#include "data/checkpoint.h"
#include "data/config_yaml.h"
#include "data/rotation_file.h"
#include "data/safetensors_writer.h"

namespace spq::ptq {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kShardsBeforeLayers = 1;  // the embedding's

// The matrices of a layer by their names in the file.
template <class Matrices>
auto named(Matrices& m, int64_t layer) {
  const auto name = [&](const char* rest) { return fmt::format("model.layers.{}.{}.weight", layer, rest); };
  return std::array{std::pair(name("self_attn.q_proj"), &m.q), std::pair(name("self_attn.k_proj"), &m.k),
                    std::pair(name("self_attn.v_proj"), &m.v), std::pair(name("self_attn.o_proj"), &m.o),
                    std::pair(name("mlp.gate_proj"), &m.gate), std::pair(name("mlp.up_proj"), &m.up),
                    std::pair(name("mlp.down_proj"), &m.down)};
}

bool neighbours(const at::Tensor& group_index, int64_t groups) {
  if (!group_index.defined()) return true;
  const int64_t columns = group_index.size(0);
  return group_index.equal(at::arange(columns, at::kLong).floor_divide(columns / groups));
}

}  // namespace

ResultWriter::ResultWriter(const PtqConfig& config, const PtqInputs& inputs, const std::string& run)
    : config_(config),
      inputs_(inputs),
      model_(config.model, config.output_dir, output_shards(*inputs.files, inputs.model), run) {
  while (finished_layers_ < inputs.model.num_layers &&
         model_.has(static_cast<size_t>(kShardsBeforeLayers + finished_layers_))) {
    ++finished_layers_;
  }
}

LayerMatrices ResultWriter::read_layer(int64_t layer) const {
  LayerMatrices result;
  for (const auto& [name, matrix] : named(result, layer)) *matrix = model_.read(name);
  return result;
}

void ResultWriter::write_integers(int64_t layer, const QuantizedLayer& quantized) const {
  std::vector<std::pair<std::string, at::Tensor>> tensors;
  for (const auto& [projection, result] : quantized.integers) {
    const std::string name = fmt::format("model.layers.{}.{}.", layer, projection);
    const QuantizedWeight& q = result.quantized;
    tensors.emplace_back(name + "codes", q.codes);
    tensors.emplace_back(name + "scale", q.scale);
    if (!config_.weights.symmetric) tensors.emplace_back(name + "zero", q.zero.to(at::kInt));
    if (!neighbours(result.group_index, q.scale.size(1))) {
      tensors.emplace_back(name + "group_index", result.group_index.to(at::kInt));
    }
  }
  if (tensors.empty()) return;
  const fs::path folder = fs::path(config_.output_dir) / "integers";
  std::error_code error;
  fs::create_directories(folder, error);
  check(!error, "{}: cannot make this folder ({})", folder.string(), error.message());
  std::vector<data::TensorSpec> specs;
  for (const auto& [name, t] : tensors) specs.push_back({name, t.scalar_type(), t.sizes().vec()});
  data::SafetensorsWriter writer(folder / fmt::format("layer-{:05}.safetensors", layer + 1), specs);
  for (const auto& [name, t] : tensors) writer.write(name, t);
  writer.finish();
}

void ResultWriter::write_layer(int64_t layer, const QuantizedLayer& quantized) {
  if (config_.save.integers) write_integers(layer, quantized);
  for (const char* norm : {"input_layernorm", "post_attention_layernorm"}) {
    const std::string name = fmt::format("model.layers.{}.{}.weight", layer, norm);
    model_.write(name, ones_like_norm(*inputs_.files, name));
  }
  for (const auto& [name, matrix] : named(quantized.weights, layer)) model_.write(name, *matrix);
}

void ResultWriter::write_rotations(const data::Rotations& whole) const {
  const fs::path folder = config_.output_dir;
  data::Checkpoint checkpoint;
  checkpoint.rotations = whole;
  PtqConfig copy = config_;
  checkpoint.config_yaml = data::config_to_yaml(bind_keys(copy));
  checkpoint.model_fingerprint = inputs_.manifest.source_fingerprint;
  checkpoint.versions = {{"spq", SPQ_VERSION}};
  data::write_checkpoint(folder / "rotation.h5", checkpoint);
  data::write_rbin(folder / "R.bin", whole);
}

void ResultWriter::finish(const data::Rotations& merged, const data::Rotations& whole,
                          const data::TransformManifest& manifest) {
  const auto write_once = [&](int64_t shard, const auto& write) {
    if (!model_.has(static_cast<size_t>(shard))) write();
  };
  write_once(0, [&] {
    model_.write("model.embed_tokens.weight",
                 merge_embedding(*inputs_.files, merged.r1, config_.rotate.centre_embedding));
  });
  write_once(kShardsBeforeLayers + inputs_.model.num_layers, [&] {
    model_.write("model.norm.weight", ones_like_norm(*inputs_.files, "model.norm.weight"));
    model_.write("lm_head.weight", merge_head(*inputs_.files, inputs_.model, merged.r1));
  });
  data::write_manifest(config_.output_dir, manifest);
  if (merged.r1.defined() || !merged.r2.empty()) write_rotations(whole);
  model_.finish();
}

}  // namespace spq::ptq
