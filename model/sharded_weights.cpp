#include "model/sharded_weights.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/index_select.h>

#include <array>
#include <utility>

namespace spq::model {
namespace {

std::array<int64_t, 7> layer_rows(const data::LlamaConfig& c) {
  const int64_t heads = c.num_heads * c.head_dim;
  const int64_t kv = c.num_kv_heads * c.head_dim;
  return {heads, kv, kv, heads, c.intermediate_size, c.intermediate_size, c.intermediate_size};
}

std::vector<dist::ShardUnit> units_of(ModelShard& shard, const data::LlamaConfig& config, int world_size) {
  std::vector<dist::ShardUnit> units;
  const auto rows = layer_rows(config);
  for (LayerWeights& layer : shard.layers) {
    dist::ShardUnit& unit = units.emplace_back();
    const auto matrices = layer.all();
    for (size_t i = 0; i < rows.size(); ++i) {
      unit.push_back({std::move(*matrices[i]), dist::RowPartition(rows[i], world_size)});
    }
  }
  units.push_back({{std::move(shard.head), dist::RowPartition(config.vocab_size, world_size)}});
  return units;
}

}  // namespace

ShardedWeights::ShardedWeights(dist::Communicator& comm, const data::LlamaConfig& config, ModelShard shard,
                               at::ScalarType compute_dtype, c10::Device device)
    : comm_(comm),
      config_(config),
      embedding_(std::move(shard.embedding).to(device)),
      compute_dtype_(compute_dtype),
      store_(comm.make_shards(units_of(shard, config, comm.world_size()))),
      schedule_([this](int64_t unit) { return start(unit); }, [this](int64_t unit) { drop(unit); }) {}

std::vector<std::unique_ptr<dist::Work>> ShardedWeights::start(int64_t unit) {
  dist::GatheredUnit gathered = store_->gather(static_cast<size_t>(unit));
  gathered_[unit] = std::move(gathered.matrices);
  return std::move(gathered.works);
}

void ShardedWeights::drop(int64_t unit) {
  gathered_.erase(unit);
  store_->drop(static_cast<size_t>(unit));
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
  const std::vector<at::Tensor>& matrices = gathered_.at(unit);
  if (unit == head_unit()) {
    current_.head = matrices[0].to(compute_dtype_);
    return;
  }
  const auto targets = current_.layer.all();
  for (size_t i = 0; i < targets.size(); ++i) *targets[i] = matrices[i].to(compute_dtype_);
}

const LayerWeights& ShardedWeights::layer(int64_t index) {
  if (in_use_ != index) use(index);
  return current_.layer;
}

const at::Tensor& ShardedWeights::head() {
  if (in_use_ != head_unit()) use(head_unit());
  return current_.head;
}

// Only the rows that are looked up travel: ids to their owners, rows back. Ids are sorted in host memory, so
// that a GPU is not waited for; only places and wanted rows go to it.
at::Tensor ShardedWeights::embed(const at::Tensor& ids) {
  const int world_size = comm_.world_size();
  const auto with_rows = [&](const at::Tensor& t) {
    return t.to(embedding_.device(), at::kLong, /*non_blocking=*/true);
  };
  if (world_size == 1) return at::index_select(embedding_, 0, with_rows(ids)).to(compute_dtype_);
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
    receive.push_back(at::empty({asked[i].numel(), config_.hidden_size}, embedding_.options()));
  }
  comm_.all_to_all(asked, theirs);
  for (const at::Tensor& wanted : theirs) {
    send.push_back(embedding_.index_select(0, with_rows(wanted.sub(vocab.begin(comm_.rank())))));
  }
  comm_.all_to_all(send, receive);

  at::Tensor rows = at::empty({ids.numel(), config_.hidden_size}, embedding_.options());
  rows.index_copy_(0, with_rows(at::cat(places)), at::cat(receive));
  return rows.to(compute_dtype_);
}

}  // namespace spq::model
