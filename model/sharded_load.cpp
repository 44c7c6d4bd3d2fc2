#include "model/sharded_load.h"

#include <ATen/ops/empty.h>
#include <c10/util/Half.h>

#include <algorithm>
#include <cstddef>
#include <type_traits>

#include "core/error.h"
#include "kernels/bfloat16.h"
#include "kernels/isa.h"
#include "model/rows.h"

namespace spq::model {
namespace {

std::string layer_name(int64_t layer, const char* rest) {
  return fmt::format("model.layers.{}.{}.weight", layer, rest);
}

constexpr int64_t kPieceBytes = int64_t{1} << 20;  // read, checked and folded while it is in the cache

// No exponent of all ones: no NaN, no infinity.
template <class Word>
bool all_finite(const Word* x, int64_t n, Word exponent) {
  Word worst = 0;
  for (int64_t i = 0; i < n; ++i) {
    const auto bits = static_cast<Word>(x[i] & exponent);
    worst = bits > worst ? bits : worst;
  }
  return worst != exponent;
}

bool all_finite(const void* data, int64_t n, at::ScalarType dtype) {
  bool finite = false;
  kernels::run_vectorised([&] {
    if (dtype == at::kFloat) {
      finite = all_finite(static_cast<const uint32_t*>(data), n, uint32_t{0x7f800000});
    } else {
      const uint16_t exponent = dtype == at::kHalf ? 0x7c00 : 0x7f80;
      finite = all_finite(static_cast<const uint16_t*>(data), n, exponent);
    }
  });
  return finite;
}

template <class T>
T to_storage(float value) {
  if constexpr (std::is_same_v<T, kernels::bfloat16>) return kernels::narrow<T>(value);
  return static_cast<T>(value);
}

// Rows of finite numbers times gamma, in fp32, rounded back to T.
template <class T>
void fold_rows(T* x, const float* gamma, int64_t rows, int64_t columns) {
  kernels::run_vectorised([=] {
    for (int64_t r = 0; r < rows; ++r) {
      T* const row = x + r * columns;
      SPQ_INDEPENDENT
      for (int64_t c = 0; c < columns; ++c) row[c] = to_storage<T>(static_cast<float>(row[c]) * gamma[c]);
    }
  });
}

void fold_rows(void* data, at::ScalarType dtype, const at::Tensor& gamma, int64_t rows) {
  const int64_t columns = gamma.numel();
  const float* factors = gamma.const_data_ptr<float>();
  if (dtype == at::kFloat) return fold_rows(static_cast<float*>(data), factors, rows, columns);
  if (dtype == at::kHalf) return fold_rows(static_cast<at::Half*>(data), factors, rows, columns);
  fold_rows(static_cast<kernels::bfloat16*>(data), factors, rows, columns);
}

// One rank's view of the files. Threads share the work on each tensor.
class ShardReader {
 public:
  ShardReader(const data::ModelFiles& files, int rank, int world_size)
      : files_(files), rank_(rank), world_size_(world_size) {}

  at::Tensor vector(const std::string& name) const {
    const at::Tensor values = files_.read(name);
    check_finite(values.const_data_ptr(), values.numel(), name);
    return values.to(at::kFloat);
  }

  /// My rows, each multiplied by gamma (undefined: not).
  at::Tensor rows(const std::string& name, const at::Tensor& gamma) const {
    const std::vector<int64_t> shape = files_.shape(name);
    const dist::RowPartition part(shape[0], world_size_);
    const at::ScalarType dtype = files_.dtype(name);
    const at::Tensor result = at::empty({part.count(rank_), shape[1]}, at::TensorOptions(dtype));
    for_pieces(result, [&](int64_t begin, int64_t end, void* to) {
      files_.copy_rows(name, part.begin(rank_) + begin, part.begin(rank_) + end, to);
      check_finite(to, (end - begin) * shape[1], name);
      if (gamma.defined()) fold_rows(to, dtype, gamma, end - begin);
    });
    return result;
  }

  /// My rows of the transpose.
  at::Tensor columns(const std::string& name) const {
    const std::vector<int64_t> shape = files_.shape(name);
    const dist::RowPartition part(shape[1], world_size_);
    const at::Tensor result = at::empty({part.count(rank_), shape[0]}, at::TensorOptions(files_.dtype(name)));
    for_rows(part.count(rank_), shape[0], [&](int64_t begin, int64_t end) {
      // As wide a part of each row in the file as there is, so that a page is visited once.
      auto* const to = static_cast<std::byte*>(result.mutable_data_ptr()) + begin * row_bytes(result);
      files_.copy_columns_transposed(name, part.begin(rank_) + begin, part.begin(rank_) + end, to);
      check_finite(to, (end - begin) * shape[0], name);
    });
    return result;
  }

 private:
  static int64_t row_bytes(const at::Tensor& matrix) { return matrix.size(1) * matrix.element_size(); }

  // body(first row, last row, address of the first) for small parts of `matrix`.
  template <class Body>
  static void for_pieces(const at::Tensor& matrix, const Body& body) {
    const int64_t bytes = row_bytes(matrix);
    const int64_t rows_of_piece = std::max<int64_t>(1, kPieceBytes / std::max<int64_t>(1, bytes));
    for_rows(matrix.size(0), matrix.size(1), [&](int64_t begin, int64_t end) {
      for (int64_t at = begin; at < end; at += rows_of_piece) {
        body(at, std::min(end, at + rows_of_piece),
             static_cast<std::byte*>(matrix.mutable_data_ptr()) + at * bytes);
      }
    });
  }

  void check_finite(const void* values, int64_t count, const std::string& name) const {
    check(all_finite(values, count, files_.dtype(name)), "{}: tensor {} holds a NaN or an infinity",
          files_.file(name).string(), name);
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
