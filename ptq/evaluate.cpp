#include "ptq/evaluate.h"

#include "core/error.h"
#include "data/model_files.h"
#include "dist/collectives.h"
#include "model/sharded_load.h"
#include "model/sharded_weights.h"

namespace spq::ptq {

model::LayerFrames merged_frames(const std::filesystem::path& model_dir, const data::LlamaConfig& config,
                                 const std::optional<data::TransformManifest>& manifest,
                                 const Online& online) {
  model::LayerFrames frames;
  if (online.r3_hadamard) frames.r3 = model::Frame(kernels::plan_hadamard(config.head_dim));
  const bool folded = manifest && manifest->r4;
  check(!folded || online.r4_hadamard,
        "{}: its down_proj weights have R4 folded in, so R4 must be applied online: set r4 to hadamard "
        "(online_rotate in other tools)",
        model_dir.string());
  if (!online.r4_hadamard) return frames;
  const kernels::HadamardPlan plan = kernels::plan_hadamard(config.intermediate_size);
  check(!folded || (manifest->r4->block == plan.block && manifest->r4->factor == plan.factor),
        "{}: R4 was folded in blocks of {}, this program transforms blocks of {}", model_dir.string(),
        folded ? manifest->r4->block : 0, plan.block);
  frames.r4 = folded ? model::Frame::one_way(plan) : model::Frame(plan);
  return frames;
}

std::unique_ptr<data::TokenFile> open_fitting_tokens(const std::string& path, int64_t length,
                                                     const std::filesystem::path& model_dir) {
  const data::LlamaConfig config = data::read_llama_config(model_dir);
  auto tokens = std::make_unique<data::TokenFile>(path);
  check(tokens->vocab_size() <= config.vocab_size,
        "{}: written with a tokenizer of {} tokens, but the model {} has a vocabulary of {}", path,
        tokens->vocab_size(), model_dir.string(), config.vocab_size);
  check(tokens->size() >= length, "{}: {} tokens are fewer than one window of {}", path, tokens->size(),
        length);
  check(length <= config.max_position, "{}: windows of {} tokens, but the model {} has positions for {}",
        path, length, model_dir.string(), config.max_position);
  return tokens;
}

double evaluate_model(dist::Communicator& comm, const std::filesystem::path& model_dir,
                      const data::TokenFile& tokens, const model::PerplexityOptions& options,
                      const model::QuantConfig& quant, const Online& online, at::ScalarType compute_dtype) {
  model::Network network;
  std::optional<model::ModelShard> shard;
  dist::collectively(comm, [&] {
    network.config = data::read_llama_config(model_dir);
    const data::ModelFiles files(model_dir);
    model::check_model_files(files, network.config);
    const auto manifest = data::read_manifest(model_dir);
    network.frames = model::NetworkFrames(merged_frames(model_dir, network.config, manifest, online));
    network.scheme = model::quant_scheme(quant);
    network.rope = model::make_rope_table(network.config, options.length);
    shard = model::load_shard(files, network.config, comm.rank(), comm.world_size());
  });
  model::ShardedWeights weights(comm, network.config, std::move(*shard), compute_dtype);
  return model::perplexity(comm, network, weights, tokens, options);
}

}  // namespace spq::ptq
