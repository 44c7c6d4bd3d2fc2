// Rotations merged into the weights: the same network, as an ordinary LLaMA (docs/math.md 2).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "data/llama_config.h"
#include "data/model_files.h"
#include "data/model_writer.h"
#include "data/rotations.h"
#include "kernels/hadamard.h"

namespace spq::ptq {

/// The nine tensors of a decoder layer, matrices [out, in] as Hugging Face has them, in the file's dtypes.
struct MergedLayer {
  at::Tensor input_norm;  // ones [d], as is the other norm: both are folded in
  at::Tensor q, k, v, o;
  at::Tensor post_attention_norm;
  at::Tensor gate, up, down;
};

/// R4 folded into down_proj; its input then has to go through the same transform online. None: not folded.
using FoldedR4 = std::optional<kernels::HadamardPlan>;

/// Error starting with `place` unless every rotation that is defined is finite fp32 of the model's shape and
/// orthogonal, and r2 is empty or holds an entry for each layer. Undefined R1 or R2: the identity.
void check_rotations(const data::Rotations& rotations, const data::LlamaConfig& config,
                     const std::string& place);

/// One layer: norms folded, q k v gate up W R1, v also R2^T per kv head, o R1^T W R2 per query head, down
/// R1^T W H^T for the online x -> H x. Products in fp32, rounded once to the stored dtype. The files have
/// passed model::check_model_files(), the rotations check_rotations(). Error naming the tensor on weights
/// that are not finite, or do not fit into the stored dtype once rotated.
MergedLayer merge_layer(const data::ModelFiles& files, const data::LlamaConfig& config, int64_t layer,
                        const data::Rotations& rotations, const FoldedR4& r4);

/// The embedding E R1 [vocab, d]. `centre`: the mean of each row is subtracted first, as the published tools
/// do; that changes the network (formats.md, trap 3).
at::Tensor merge_embedding(const data::ModelFiles& files, const at::Tensor& r1, bool centre);

/// The rows `ids` int64 [n] of that, [n, d]: only these are read.
at::Tensor merge_embedding_rows(const data::ModelFiles& files, const at::Tensor& r1, bool centre,
                                const at::Tensor& ids);

/// The head (W gamma) R1 [vocab, d], gamma of the final norm; W is the embedding where those are tied.
at::Tensor merge_head(const data::ModelFiles& files, const data::LlamaConfig& config, const at::Tensor& r1);

/// The files of a merged model: the embedding, one file for each layer, final norm and head. Dtypes are those
/// of the source's tensors. The files have passed model::check_model_files().
std::vector<data::ModelWriter::ShardSpec> output_shards(const data::ModelFiles& files,
                                                        const data::LlamaConfig& config);

/// Error naming `model_dir` and the first tensor that a merged model would not hold.
void check_nothing_lost(const data::ModelFiles& files, const data::LlamaConfig& config,
                        const std::filesystem::path& model_dir);

/// Ones in the shape and dtype of the norm weight `name`, which is folded away.
at::Tensor ones_like_norm(const data::ModelFiles& files, const std::string& name);

}  // namespace spq::ptq
