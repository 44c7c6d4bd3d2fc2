// Sizes of a LLaMA from its configuration, in elements and bytes: what the plans count with.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "data/llama_config.h"
#include "dist/shard.h"

namespace spq::trainer {

/// Bytes of one element.
struct ElementSizes {
  int64_t storage = 2;  // of the checkpoint
  int64_t compute = 2;
};

class ModelSizes {
 public:
  explicit ModelSizes(const data::LlamaConfig& config) : config_(config) {}

  int64_t layers() const { return config_.num_layers; }
  int64_t width() const { return config_.hidden_size; }
  int64_t heads() const { return config_.num_heads; }
  int64_t head_dim() const { return config_.head_dim; }
  int64_t query() const { return config_.num_heads * config_.head_dim; }  // outputs of q_proj
  int64_t key_value() const {
    return config_.num_kv_heads * config_.head_dim;
  }  // outputs of k_proj, of v_proj
  int64_t intermediate() const { return config_.intermediate_size; }
  int64_t vocabulary() const { return config_.vocab_size; }
  bool repeats_keys() const { return config_.num_kv_heads != config_.num_heads; }

  /// Rows of the seven matrices of a layer, all of width().
  std::array<int64_t, 7> layer_rows() const {
    return {query(), key_value(), key_value(), query(), intermediate(), intermediate(), intermediate()};
  }
  int64_t layer_elements() const {
    int64_t rows = 0;
    for (const int64_t r : layer_rows()) rows += r;
    return rows * width();
  }
  int64_t head_elements() const { return vocabulary() * width(); }
  /// Of the rank with the largest part: every layer, the embedding, the head.
  int64_t shard_elements(int world_size) const {
    const auto largest = [&](int64_t rows) { return dist::RowPartition(rows, world_size).count(0); };
    int64_t rows = 2 * largest(vocabulary());
    for (const int64_t r : layer_rows()) rows += layers() * largest(r);
    return rows * width();
  }
  /// Elements of R1 and every R2 together.
  int64_t rotation_elements() const { return width() * width() + layers() * head_dim() * head_dim(); }

 private:
  data::LlamaConfig config_;
};

}  // namespace spq::trainer
