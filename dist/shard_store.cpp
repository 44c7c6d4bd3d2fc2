#include "dist/shard_store.h"

#include <ATen/ops/empty.h>

#include <algorithm>

#include "core/error.h"
#include "dist/communicator.h"
#include "dist/shard_layout.h"

namespace spq::dist {

GatheredUnit ShardStore::gather(size_t unit) {
  std::optional<size_t>& place = held_[unit % 2];
  SPQ_ASSERT(!place);
  GatheredUnit gathered = start(unit);
  place = unit;
  return gathered;
}

void ShardStore::drop(size_t unit) {
  std::optional<size_t>& place = held_[unit % 2];
  SPQ_ASSERT(place == unit);
  finish(unit);
  place.reset();
}

PrivateShards::PrivateShards(Communicator& comm, std::vector<ShardUnit> units)
    : comm_(comm), units_(std::move(units)) {}

GatheredUnit PrivateShards::start(size_t unit) {
  at::Tensor& buffer = buffers_[unit % 2];
  if (!buffer.defined()) buffer = at::empty({slot_bytes(units_)[unit % 2]}, at::kByte);
  const ShardUnit& shards = units_.at(unit);
  GatheredUnit gathered;
  gathered.matrices = whole_views(static_cast<std::byte*>(buffer.mutable_data_ptr()), shards);
  for (size_t i = 0; i < shards.size(); ++i) {
    gathered.works.push_back(
        comm_.all_gather_rows(shards[i].rows, gathered.matrices[i], shards[i].partition));
  }
  return gathered;
}

}  // namespace spq::dist
