// Rotations merged into the weights: the same network, as an ordinary LLaMA (docs/math.md 2).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <functional>
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

/// Error naming `model_dir` when its manifest says that its weights were already transformed.
void check_not_transformed(const std::filesystem::path& model_dir);

/// One layer: norms folded, q k v gate up W R1, v also R2^T per kv head, o R1^T W R2 per query head, down
/// R1^T W H^T for the online x -> H x. Products in fp32, rounded once to the stored dtype. The files have
/// passed model::check_model_files(), the rotations check_rotations(). Error naming the tensor on weights
/// that are not finite, or do not fit into the stored dtype once rotated.
MergedLayer merge_layer(const data::ModelFiles& files, const data::LlamaConfig& config, int64_t layer,
                        const data::Rotations& rotations, const FoldedR4& r4);

/// The embedding E R1 [vocab, d]. `centre`: the mean of each row is subtracted first, as the published tools
/// do; that changes the network (formats.md, trap 3).
at::Tensor merge_embedding(const data::ModelFiles& files, const at::Tensor& r1, bool centre);

/// The head (W gamma) R1 [vocab, d], gamma of the final norm; W is the embedding where those are tied.
at::Tensor merge_head(const data::ModelFiles& files, const data::LlamaConfig& config, const at::Tensor& r1);

/// Every tensor of a merged model, in the order in which it is written, in the dtypes of the source's
/// tensors. The files have passed model::check_model_files().
std::vector<data::TensorSpec> output_tensors(const data::ModelFiles& files, const data::LlamaConfig& config);

/// Ones in the shape and dtype of the norm weight `name`, which is folded away.
at::Tensor ones_like_norm(const data::ModelFiles& files, const std::string& name);

struct MergeOptions {
  data::Rotations rotations;                // as check_rotations() wants them
  std::string rotation_place = "rotation";  // where they come from, for messages
  FoldedR4 r4;
  bool r3_online = false;  // for the manifest: R3 is never merged
  bool centre_embedding = false;
  uint64_t max_shard_bytes = data::ModelWriter::kDefaultShardBytes;
};

/// Reads the model in `model_dir`, one layer at a time, and writes the merged one with its manifest to
/// `out_dir`, new or empty, untied. `on_layer` is called with the number of layers done. Error, before
/// anything is written, on what the functions above refuse and on tensors that a LLaMA does not have.
void merge_model(const std::filesystem::path& model_dir, const std::filesystem::path& out_dir,
                 const MergeOptions& options, const std::function<void(int64_t layers)>& on_layer = {});

}  // namespace spq::ptq
