#include "model/sharded_weights.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/index_select.h>

#include <array>

namespace spq::model {
namespace {

std::array<int64_t, 7> layer_rows(const data::LlamaConfig& c) {
  const int64_t heads = c.num_heads * c.head_dim;
  const int64_t kv = c.num_kv_heads * c.head_dim;
  return {heads, kv, kv, heads, c.intermediate_size, c.intermediate_size, c.intermediate_size};
}

}  // namespace

ShardedWeights::ShardedWeights(dist::Communicator& comm, const data::LlamaConfig& config, ModelShard shard,
                               at::ScalarType compute_dtype)
    : comm_(comm),
      config_(config),
      shard_(std::move(shard)),
      compute_dtype_(compute_dtype),
      schedule_([this](int64_t unit) { return start(unit); },
                [this](int64_t unit) { gathered_.erase(unit); }) {}

at::Tensor ShardedWeights::start_matrix(const at::Tensor& shard, int64_t rows,
                                        std::vector<std::unique_ptr<dist::Work>>& works) {
  if (comm_.world_size() == 1) return shard;
  at::Tensor whole = at::empty({rows, shard.size(1)}, shard.options());
  works.push_back(comm_.all_gather_rows(shard, whole, dist::RowPartition(rows, comm_.world_size())));
  return whole;
}

std::vector<std::unique_ptr<dist::Work>> ShardedWeights::start(int64_t unit) {
  std::vector<std::unique_ptr<dist::Work>> works;
  Gathered& whole = gathered_[unit];
  if (unit == head_unit()) {
    whole.head = start_matrix(shard_.head, config_.vocab_size, works);
    return works;
  }
  const auto rows = layer_rows(config_);
  const auto parts = shard_.layers[static_cast<size_t>(unit)].all();
  const auto targets = whole.layer.all();
  for (size_t i = 0; i < rows.size(); ++i) *targets[i] = start_matrix(*parts[i], rows[i], works);
  return works;
}

void ShardedWeights::begin_walk(Walk walk) {
  std::vector<int64_t> order;
  for (int64_t l = 0; l < config_.num_layers; ++l) order.push_back(l);
  order.push_back(head_unit());
  if (walk == Walk::kForwardBackward) {
    for (int64_t l = config_.num_layers - 1; l >= 0; --l) order.push_back(l);
  }
  in_use_ = -1;
  current_ = {};
  schedule_.begin(std::move(order));
}

void ShardedWeights::use(int64_t unit) {
  current_ = {};  // before the next gather starts: never a third unit
  schedule_.acquire(unit);
  in_use_ = unit;
  current_ = gathered_.at(unit);
  for (at::Tensor* t : current_.layer.all()) {
    if (t->defined()) *t = t->to(compute_dtype_);
  }
  if (current_.head.defined()) current_.head = current_.head.to(compute_dtype_);
}

const LayerWeights& ShardedWeights::layer(int64_t index) {
  if (in_use_ != index) use(index);
  return current_.layer;
}

const at::Tensor& ShardedWeights::head() {
  if (in_use_ != head_unit()) use(head_unit());
  return current_.head;
}

// Only the rows that are looked up travel: ids to their owners, rows back.
at::Tensor ShardedWeights::embed(const at::Tensor& ids) {
  const int world_size = comm_.world_size();
  if (world_size == 1) return at::index_select(shard_.embedding, 0, ids).to(compute_dtype_);
  const dist::RowPartition vocab(config_.vocab_size, world_size);

  std::vector<at::Tensor> asked(static_cast<size_t>(world_size));   // ids I need from each rank
  std::vector<at::Tensor> places(static_cast<size_t>(world_size));  // where their rows go
  std::vector<at::Tensor> counts(static_cast<size_t>(world_size));
  std::vector<at::Tensor> their_counts(static_cast<size_t>(world_size));
  for (int r = 0; r < world_size; ++r) {
    const auto i = static_cast<size_t>(r);
    places[i] = ids.ge(vocab.begin(r)).logical_and_(ids.lt(vocab.end(r))).nonzero().reshape({-1});
    asked[i] = ids.index_select(0, places[i]);
    counts[i] = at::full({1}, asked[i].numel(), at::kLong);
    their_counts[i] = at::empty({1}, at::kLong);
  }
  comm_.all_to_all(counts, their_counts);

  std::vector<at::Tensor> theirs, send, receive;
  for (int r = 0; r < world_size; ++r) {
    const auto i = static_cast<size_t>(r);
    theirs.push_back(at::empty({their_counts[i].item<int64_t>()}, at::kLong));
    receive.push_back(at::empty({asked[i].numel(), config_.hidden_size}, shard_.embedding.options()));
  }
  comm_.all_to_all(asked, theirs);
  for (const at::Tensor& wanted : theirs) {
    send.push_back(shard_.embedding.index_select(0, wanted.sub(vocab.begin(comm_.rank()))));
  }
  comm_.all_to_all(send, receive);

  at::Tensor rows = at::empty({ids.numel(), config_.hidden_size}, shard_.embedding.options());
  rows.index_copy_(0, at::cat(places), at::cat(receive));
  return rows.to(compute_dtype_);
}

}  // namespace spq::model
