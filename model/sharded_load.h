// A rank's rows of a checkpoint, norm weights folded in.
#pragma once

#include <vector>

#include "data/llama_config.h"
#include "data/model_files.h"
#include "dist/shard.h"
#include "model/weights.h"

namespace spq::model {

/// Rows of every matrix that one rank owns, in the checkpoint's dtype.
struct ModelShard {
  std::vector<LayerWeights> layers;  // rows of each matrix by RowPartition(rows, world_size)
  at::Tensor embedding;              // [rows of vocab, d]
  at::Tensor head;                   // [rows of vocab, d], final norm folded in
};

/// Checks that `files` hold every tensor of the config with its shape, and no bias. Error names file and
/// tensor.
void check_model_files(const data::ModelFiles& files, const data::LlamaConfig& config);

/// Reads the rows that `rank` of `world_size` owns, and the norm weights. Gamma is multiplied in fp32 and the
/// product rounded back to the stored dtype (design.md 2). Tied embeddings become a head of their own. Error
/// on non-finite weights.
ModelShard load_shard(const data::ModelFiles& files, const data::LlamaConfig& config, int rank,
                      int world_size);

}  // namespace spq::model
