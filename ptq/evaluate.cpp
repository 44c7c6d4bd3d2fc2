#include "ptq/evaluate.h"

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "data/json_text.h"
#include "data/model_files.h"
#include "dist/collectives.h"
#include "model/sharded_load.h"
#include "model/sharded_weights.h"

namespace spq::ptq {

namespace {

int64_t bos_of_model(const std::filesystem::path& model_dir, int64_t vocab_size) {
  const std::filesystem::path file = model_dir / "config.json";
  const nlohmann::json config = data::read_json_file(file);
  const auto entry = config.find("bos_token_id");
  check(entry != config.end() && entry->is_number_integer(),
        "{}: 'bos_token_id' is {}, expected one token: set bos_id, or bos to none", file.string(),
        entry == config.end() ? "missing" : entry->dump());
  const auto id = entry->get<int64_t>();
  check(id >= 0 && id < vocab_size, "{}: 'bos_token_id' is {}, outside the vocabulary of {}", file.string(),
        id, vocab_size);
  return id;
}

}  // namespace

int64_t window_bos_id(const std::filesystem::path& model_dir, const data::TokenFile& tokens,
                      const WindowBos& bos) {
  if (!bos.each_window) return -1;
  const int64_t vocab_size = data::read_llama_config(model_dir).vocab_size;
  check(bos.id < vocab_size, "bos_id is {}, outside the vocabulary of {} of {}", bos.id, vocab_size,
        model_dir.string());
  const int64_t id = bos.id >= 0 ? bos.id : bos_of_model(model_dir, vocab_size);
  check(tokens.read(0, 1, vocab_size).item<int64_t>() != id,
        "{}: begins with token {}, the BOS that goes in front of every window: expected a file tokenized "
        "without it",
        tokens.path().string(), id);
  return id;
}

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

double evaluate_model(dist::Communicator& comm, const std::filesystem::path& model_dir,
                      const data::TokenFile& tokens, const model::PerplexityOptions& options,
                      const model::QuantConfig& quant, const Online& online, at::ScalarType compute_dtype,
                      c10::Device device) {
  model::Network network;
  std::optional<model::ModelShard> shard;
  dist::collectively(comm, [&] {
    network.config = data::read_llama_config(model_dir);
    const data::ModelFiles files(model_dir);
    model::check_model_files(files, network.config);
    const auto manifest = data::read_manifest(model_dir);
    network.frames = model::NetworkFrames(merged_frames(model_dir, network.config, manifest, online));
    network.scheme = model::quant_scheme(quant);
    network.rope = model::make_rope_table(network.config, options.length).on(device);
    shard = model::load_shard(files, network.config, comm.rank(), comm.world_size());
  });
  model::ShardedWeights weights(comm, network.config, std::move(*shard), compute_dtype, device);
  return model::perplexity(comm, network, weights, tokens, options);
}

}  // namespace spq::ptq
