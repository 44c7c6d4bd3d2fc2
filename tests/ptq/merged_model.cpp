#include "tests/ptq/merged_model.h"

#include <ATen/ops/mm.h>

#include <nlohmann/json.hpp>

#include "data/model_files.h"
#include "data/rotation_file.h"
#include "data/safetensors_writer.h"
#include "dist/single_communicator.h"
#include "model/network.h"
#include "model/norm.h"
#include "model/rotation_start.h"
#include "model/sharded_load.h"
#include "model/sharded_weights.h"
#include "ptq/pipeline.h"
#include "tests/data/support.h"

namespace spq::test {
namespace {

/// A model with its weights, as one rank holds it.
struct Loaded {
  explicit Loaded(const std::filesystem::path& model_dir, int64_t length)
      : config(data::read_llama_config(model_dir)),
        weights(comm, config, load(model_dir, config), at::kFloat) {
    network.config = config;
    network.rope = model::make_rope_table(config, length);
  }
  static model::ModelShard load(const std::filesystem::path& model_dir, const data::LlamaConfig& config) {
    const data::ModelFiles files(model_dir);
    model::check_model_files(files, config);
    return model::load_shard(files, config, 0, 1);
  }

  dist::SingleCommunicator comm;
  data::LlamaConfig config;
  model::ShardedWeights weights;
  model::Network network;
};

}  // namespace

data::Rotations random_rotations(const data::LlamaConfig& config, int64_t seed) {
  data::Rotations rotations;
  rotations.r1 = model::random_orthogonal(config.hidden_size, seed, 0);
  for (int64_t l = 0; l < config.num_layers; ++l) {
    rotations.r2.push_back(model::random_orthogonal(config.head_dim, seed, 1 + l));
  }
  return rotations;
}

void merge_model(const std::filesystem::path& source, const std::filesystem::path& out, const Merge& merge) {
  const data::TempDir folder;
  ptq::PtqConfig config;
  config.model = source.string();
  config.output_dir = out.string();
  config.weights.method = ptq::Method::kNone;
  config.rotate.r3_hadamard = merge.r3_online;
  config.rotate.r4_hadamard = merge.r4;
  config.rotate.centre_embedding = merge.centre_embedding;
  const bool r1 = merge.rotations.r1.defined(), r2 = !merge.rotations.r2.empty();
  if (r1) config.rotate.r1 = model::RotationSource::kFile;
  if (r2) config.rotate.r2 = model::RotationSource::kFile;
  if (r1 || r2) {
    config.rotate.file = (folder.path() / "R.bin").string();
    const data::LlamaConfig model = data::read_llama_config(source);
    data::Rotations whole = merge.rotations;
    if (!r1) whole.r1 = model::identity_rotation(model.hidden_size);
    for (int64_t l = 0; !r2 && l < model.num_layers; ++l) {
      whole.r2.push_back(model::identity_rotation(model.head_dim));
    }
    data::write_rbin(config.rotate.file, whole);
  }
  dist::SingleCommunicator comm;
  ptq::run_ptq(comm, config, nullptr);
}

at::Tensor logits_of(const std::filesystem::path& model_dir, const at::Tensor& ids) {
  Loaded model(model_dir, ids.size(1));
  return model::forward_logits(model.network, model.weights, ids);
}

at::Tensor logits_of(const std::filesystem::path& model_dir, const at::Tensor& ids,
                     const model::QuantScheme& scheme, const std::vector<model::LayerFrames>& frames) {
  Loaded model(model_dir, ids.size(1));
  model.network.scheme = scheme;
  model.weights.begin_walk(model::Walk::kForward);
  const model::LayerContext context = model.network.context(ids.size(0), ids.size(1));
  at::Tensor h = model.weights.embed(ids.reshape({-1}));
  for (int64_t l = 0; l < model.config.num_layers; ++l) {
    h = model::layer_forward(context, model.weights.layer(l), frames.at(static_cast<size_t>(l)), h, nullptr);
  }
  return at::mm(model::rms_norm(h, model.config.rms_norm_eps), model.weights.head().t())
      .view({ids.size(0), ids.size(1), -1});
}

void copy_model(const std::filesystem::path& from, const std::filesystem::path& to,
                const std::function<void(TensorMap&)>& edit) {
  const data::ModelFiles files(from);
  TensorMap tensors;
  for (const std::string& name : files.names()) tensors[name] = files.read(name);
  edit(tensors);
  std::vector<data::TensorSpec> specs;
  for (const auto& [name, t] : tensors) specs.push_back({name, t.scalar_type(), t.sizes().vec()});
  std::filesystem::create_directories(to);
  data::SafetensorsWriter writer(to / "model.safetensors", specs);
  for (const auto& [name, t] : tensors) writer.write(name, t);
  writer.finish();
  std::filesystem::copy_file(from / "config.json", to / "config.json");
}

void narrow_mlp(const std::filesystem::path& from, const std::filesystem::path& to, int64_t size) {
  copy_model(from, to, [size](TensorMap& tensors) {
    for (auto& [name, t] : tensors) {
      if (name.find("mlp.") != std::string::npos) t = t.narrow(name.ends_with("down_proj.weight"), 0, size);
    }
  });
  auto config = nlohmann::json::parse(data::read_text(to / "config.json"));
  config["intermediate_size"] = size;
  data::write_text(to / "config.json", config.dump());
}

}  // namespace spq::test
