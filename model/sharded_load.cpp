#include "model/sharded_load.h"

#include <ATen/ops/isfinite.h>

#include "core/error.h"

namespace spq::model {
namespace {

std::string layer_name(int64_t layer, const char* rest) {
  return fmt::format("model.layers.{}.{}.weight", layer, rest);
}

// One rank's view of the files.
class ShardReader {
 public:
  ShardReader(const data::ModelFiles& files, int rank, int world_size)
      : files_(files), rank_(rank), world_size_(world_size) {}

  at::Tensor vector(const std::string& name) const { return checked(files_.read(name), name).to(at::kFloat); }

  /// My rows, each multiplied by gamma (undefined: not).
  at::Tensor rows(const std::string& name, const at::Tensor& gamma) const {
    const dist::RowPartition part(files_.shape(name)[0], world_size_);
    return fold(checked(files_.read_rows(name, part.begin(rank_), part.end(rank_)), name), gamma);
  }

  /// My rows of the transpose.
  at::Tensor columns(const std::string& name) const {
    const dist::RowPartition part(files_.shape(name)[1], world_size_);
    return checked(files_.read_columns_transposed(name, part.begin(rank_), part.end(rank_)), name);
  }

 private:
  at::Tensor checked(at::Tensor t, const std::string& name) const {
    check(at::isfinite(t).all().item<bool>(), "{}: tensor {} holds a NaN or an infinity",
          files_.file(name).string(), name);
    return t;
  }
  static at::Tensor fold(const at::Tensor& rows, const at::Tensor& gamma) {
    return gamma.defined() ? rows.to(at::kFloat).mul_(gamma).to(rows.scalar_type()) : rows;
  }

  const data::ModelFiles& files_;
  int rank_;
  int world_size_;
};

std::string head_name(const data::ModelFiles& files, const data::LlamaConfig& config) {
  const bool own = files.has("lm_head.weight") && !config.tied_embeddings;
  return own ? "lm_head.weight" : "model.embed_tokens.weight";
}

}  // namespace

void check_model_files(const data::ModelFiles& files, const data::LlamaConfig& config) {
  const int64_t d = config.hidden_size;
  const int64_t heads = config.num_heads * config.head_dim;
  const int64_t kv = config.num_kv_heads * config.head_dim;
  files.expect_shape("model.embed_tokens.weight", {config.vocab_size, d});
  files.expect_shape("model.norm.weight", {d});
  if (!config.tied_embeddings) files.expect_shape("lm_head.weight", {config.vocab_size, d});
  for (int64_t l = 0; l < config.num_layers; ++l) {
    files.expect_shape(layer_name(l, "input_layernorm"), {d});
    files.expect_shape(layer_name(l, "post_attention_layernorm"), {d});
    files.expect_shape(layer_name(l, "self_attn.q_proj"), {heads, d});
    files.expect_shape(layer_name(l, "self_attn.k_proj"), {kv, d});
    files.expect_shape(layer_name(l, "self_attn.v_proj"), {kv, d});
    files.expect_shape(layer_name(l, "self_attn.o_proj"), {d, heads});
    files.expect_shape(layer_name(l, "mlp.gate_proj"), {config.intermediate_size, d});
    files.expect_shape(layer_name(l, "mlp.up_proj"), {config.intermediate_size, d});
    files.expect_shape(layer_name(l, "mlp.down_proj"), {d, config.intermediate_size});
  }
  for (const std::string& name : files.names()) {
    check(!name.ends_with(".bias"), "{}: tensor {}: biases are not supported", files.file(name).string(),
          name);
  }
}

ModelShard load_shard(const data::ModelFiles& files, const data::LlamaConfig& config, int rank,
                      int world_size) {
  const ShardReader reader(files, rank, world_size);
  ModelShard shard;
  for (int64_t l = 0; l < config.num_layers; ++l) {
    const at::Tensor attention_gamma = reader.vector(layer_name(l, "input_layernorm"));
    const at::Tensor mlp_gamma = reader.vector(layer_name(l, "post_attention_layernorm"));
    shard.layers.push_back({.q = reader.rows(layer_name(l, "self_attn.q_proj"), attention_gamma),
                            .k = reader.rows(layer_name(l, "self_attn.k_proj"), attention_gamma),
                            .v = reader.rows(layer_name(l, "self_attn.v_proj"), attention_gamma),
                            .o_t = reader.columns(layer_name(l, "self_attn.o_proj")),
                            .gate = reader.rows(layer_name(l, "mlp.gate_proj"), mlp_gamma),
                            .up = reader.rows(layer_name(l, "mlp.up_proj"), mlp_gamma),
                            .down_t = reader.columns(layer_name(l, "mlp.down_proj"))});
  }
  shard.embedding = reader.rows("model.embed_tokens.weight", {});
  shard.head = reader.rows(head_name(files, config), reader.vector("model.norm.weight"));
  return shard;
}

}  // namespace spq::model
