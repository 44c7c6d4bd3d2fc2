#include "ptq/merge.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/unique_dim.h>

#include <algorithm>
#include <array>
#include <set>

#include "core/error.h"
#include "data/rotation_check.h"
#include "model/frame.h"
#include "model/sharded_load.h"

namespace spq::ptq {
namespace {

namespace fs = std::filesystem;

constexpr const char* kEmbedding = "model.embed_tokens.weight";
constexpr const char* kFinalNorm = "model.norm.weight";
constexpr const char* kHead = "lm_head.weight";
constexpr int64_t kBlockRows = 4096;  // of a vocabulary-sized matrix in fp32 at a time

std::string layer_name(int64_t layer, const char* rest) {
  return fmt::format("model.layers.{}.{}.weight", layer, rest);
}

/// The tensors of a layer in the order of the file, with their names.
template <class Layer>
auto named_tensors(Layer& layer, int64_t index) {
  return std::array{std::pair(layer_name(index, "input_layernorm"), &layer.input_norm),
                    std::pair(layer_name(index, "self_attn.q_proj"), &layer.q),
                    std::pair(layer_name(index, "self_attn.k_proj"), &layer.k),
                    std::pair(layer_name(index, "self_attn.v_proj"), &layer.v),
                    std::pair(layer_name(index, "self_attn.o_proj"), &layer.o),
                    std::pair(layer_name(index, "post_attention_layernorm"), &layer.post_attention_norm),
                    std::pair(layer_name(index, "mlp.gate_proj"), &layer.gate),
                    std::pair(layer_name(index, "mlp.up_proj"), &layer.up),
                    std::pair(layer_name(index, "mlp.down_proj"), &layer.down)};
}

bool all_finite(const at::Tensor& t) {
  return at::isfinite(t).all().item<bool>();
}

at::Tensor in_fp32(const data::ModelFiles& files, const at::Tensor& t, const std::string& name) {
  check(all_finite(t), "{}: tensor {} holds a NaN or an infinity", files.file(name).string(), name);
  return t.to(at::kFloat);
}

at::Tensor read_fp32(const data::ModelFiles& files, const std::string& name) {
  return in_fp32(files, files.read(name), name);
}

/// The only rounding: back to the stored dtype.
at::Tensor rounded(const data::ModelFiles& files, const at::Tensor& t, const std::string& name) {
  at::Tensor result = t.to(files.dtype(name));
  check(all_finite(result), "{}: tensor {} does not fit into {} once it is rotated",
        files.file(name).string(), name, c10::toString(result.scalar_type()));
  return result;
}

at::Tensor r2_of(const data::Rotations& rotations, int64_t layer) {
  return rotations.r2.empty() ? at::Tensor() : rotations.r2.at(static_cast<size_t>(layer));
}

at::Tensor rotate_inputs(const at::Tensor& weight, const at::Tensor& r1) {
  return r1.defined() ? at::mm(weight, r1) : weight;
}

at::Tensor rotate_outputs(const at::Tensor& weight, const at::Tensor& r1) {
  return r1.defined() ? at::mm(r1.t(), weight) : weight;
}

/// W [heads * n, d]: the rows of each head times R2^T.
at::Tensor rotate_head_rows(const at::Tensor& weight, const at::Tensor& r2) {
  if (!r2.defined()) return weight;
  return at::matmul(r2.t(), weight.view({-1, r2.size(0), weight.size(1)})).view(weight.sizes());
}

/// W [d, heads * n]: the columns of each head times R2.
at::Tensor rotate_head_columns(const at::Tensor& weight, const at::Tensor& r2) {
  if (!r2.defined()) return weight;
  return at::mm(weight.contiguous().view({-1, r2.size(0)}), r2).view(weight.sizes());
}

/// Rows W of the matrix `name`, each times gamma and R1.
at::Tensor merge_rows(const data::ModelFiles& files, const std::string& name, const at::Tensor& rows,
                      const at::Tensor& gamma, const at::Tensor& r1, bool centre) {
  at::Tensor part = in_fp32(files, rows, name);
  if (centre) part = part.sub(part.mean(1, /*keepdim=*/true, at::kDouble).to(at::kFloat));
  if (gamma.defined()) part = part.mul(gamma);
  return rounded(files, rotate_inputs(part, r1), name);
}

/// The whole matrix, in blocks of rows.
at::Tensor merge_vocabulary(const data::ModelFiles& files, const std::string& name, const at::Tensor& gamma,
                            const at::Tensor& r1, bool centre) {
  const int64_t rows = files.shape(name).at(0);
  at::Tensor result = at::empty(files.shape(name), files.dtype(name));
  for (int64_t begin = 0; begin < rows; begin += kBlockRows) {
    const int64_t end = std::min(rows, begin + kBlockRows);
    result.narrow(0, begin, end - begin)
        .copy_(merge_rows(files, name, files.read_rows(name, begin, end), gamma, r1, centre));
  }
  return result;
}

std::string head_source(const data::ModelFiles& files, const data::LlamaConfig& config) {
  return files.has(kHead) && !config.tied_embeddings ? kHead : kEmbedding;
}

void check_r4(const FoldedR4& r4, const data::LlamaConfig& config) {
  check(!r4 || r4->n == config.intermediate_size, "R4 is planned for {} values, but intermediate_size is {}",
        r4 ? r4->n : 0, config.intermediate_size);
}

}  // namespace

at::Tensor ones_like_norm(const data::ModelFiles& files, const std::string& name) {
  return at::ones(files.shape(name), files.dtype(name));
}

std::vector<data::ModelWriter::ShardSpec> output_shards(const data::ModelFiles& files,
                                                        const data::LlamaConfig& config) {
  const auto spec = [&](const std::string& name, const std::string& like) -> data::TensorSpec {
    return {name, files.dtype(like), files.shape(like)};
  };
  std::vector<data::ModelWriter::ShardSpec> shards = {{spec(kEmbedding, kEmbedding)}};
  for (int64_t l = 0; l < config.num_layers; ++l) {
    const MergedLayer names_only;
    shards.emplace_back();
    for (const auto& [name, tensor] : named_tensors(names_only, l)) shards.back().push_back(spec(name, name));
  }
  shards.push_back({spec(kFinalNorm, kFinalNorm), spec(kHead, head_source(files, config))});
  return shards;
}

void check_nothing_lost(const data::ModelFiles& files, const data::LlamaConfig& config,
                        const fs::path& model_dir) {
  std::set<std::string> known;
  for (const auto& shard : output_shards(files, config)) {
    for (const data::TensorSpec& t : shard) known.insert(t.name);
  }
  for (const std::string& name : files.names()) {
    // Old files hold these tables; every reader computes them from config.json.
    check(known.contains(name) || name.ends_with("rotary_emb.inv_freq"),
          "{}: tensor '{}' is no part of a LLaMA of this configuration and would be lost", model_dir.string(),
          name);
  }
}

// The checks of data/ want all rotations; identities stand in for those that are not given, an R1 of size 1
// among them, since checking one of the model's size would cost a large product.
void check_rotations(const data::Rotations& rotations, const data::LlamaConfig& config,
                     const std::string& place) {
  data::Rotations whole{rotations.r1, rotations.r2};
  const bool has_r1 = whole.r1.defined();
  if (!has_r1) whole.r1 = at::eye(1, at::kFloat);
  for (at::Tensor& r2 : whole.r2) {
    if (!r2.defined()) r2 = at::eye(config.head_dim, at::kFloat);
  }
  data::check_rotation_shapes(whole, has_r1 ? config.hidden_size : 1,
                              whole.r2.empty() ? 0 : config.num_layers, config.head_dim, place);
  data::check_orthogonal(whole, place);
}

MergedLayer merge_layer(const data::ModelFiles& files, const data::LlamaConfig& config, int64_t layer,
                        const data::Rotations& rotations, const FoldedR4& r4) {
  check_r4(r4, config);
  const at::Tensor& r1 = rotations.r1;
  const at::Tensor r2 = r2_of(rotations, layer);
  const auto reads_residual = [&](const char* rest, const char* norm) {
    const at::Tensor gamma = read_fp32(files, layer_name(layer, norm));
    return rotate_inputs(read_fp32(files, layer_name(layer, rest)).mul(gamma), r1);
  };
  const auto writes_residual = [&](const char* rest) {
    return rotate_outputs(read_fp32(files, layer_name(layer, rest)), r1);
  };
  const auto done = [&](const char* rest, const at::Tensor& weight) {
    const std::string name = layer_name(layer, rest);
    return rounded(files, weight, name).contiguous();
  };
  const auto merged = [&](const char* rest, const char* norm) {
    return done(rest, reads_residual(rest, norm));
  };

  MergedLayer result;
  result.input_norm = ones_like_norm(files, layer_name(layer, "input_layernorm"));
  result.q = merged("self_attn.q_proj", "input_layernorm");
  result.k = merged("self_attn.k_proj", "input_layernorm");
  result.v =
      done("self_attn.v_proj", rotate_head_rows(reads_residual("self_attn.v_proj", "input_layernorm"), r2));
  result.o = done("self_attn.o_proj", rotate_head_columns(writes_residual("self_attn.o_proj"), r2));
  result.post_attention_norm = ones_like_norm(files, layer_name(layer, "post_attention_layernorm"));
  result.gate = merged("mlp.gate_proj", "post_attention_layernorm");
  result.up = merged("mlp.up_proj", "post_attention_layernorm");
  // (x H^T) W'^T = x W^T for W' = W H^T: each row of W goes through the transform that x sees.
  const at::Tensor down = writes_residual("mlp.down_proj").contiguous();
  result.down = done("mlp.down_proj", r4 ? model::Frame(*r4).enter(down) : down);
  return result;
}

at::Tensor merge_embedding(const data::ModelFiles& files, const at::Tensor& r1, bool centre) {
  return merge_vocabulary(files, kEmbedding, {}, r1, centre);
}

at::Tensor merge_embedding_rows(const data::ModelFiles& files, const at::Tensor& r1, bool centre,
                                const at::Tensor& ids) {
  const auto [unique, where, counts] = at::unique_dim(ids, 0, /*sorted=*/true, /*return_inverse=*/true);
  std::vector<at::Tensor> rows;
  for (int64_t i = 0; i < unique.numel(); ++i) {
    const int64_t id = unique.const_data_ptr<int64_t>()[i];
    rows.push_back(files.read_rows(kEmbedding, id, id + 1));
  }
  return merge_rows(files, kEmbedding, at::cat(rows), {}, r1, centre).index_select(0, where);
}

at::Tensor merge_head(const data::ModelFiles& files, const data::LlamaConfig& config, const at::Tensor& r1) {
  const at::Tensor gamma = read_fp32(files, kFinalNorm);
  return merge_vocabulary(files, head_source(files, config), gamma, r1, /*centre=*/false);
}

}  // namespace spq::ptq
