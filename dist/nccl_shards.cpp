// Where frozen rows lie when every rank has a GPU of its own.
#include <utility>

#include "dist/arguments.h"
#include "dist/collectives.h"
#include "dist/device_rows.h"
#include "dist/nccl_communicator.h"
#include "dist/nccl_transport.h"
#include "dist/shard_layout.h"

namespace spq::dist {

namespace {

class NcclShards final : public ShardStore {
 public:
  NcclShards(NcclTransport& transport, std::vector<ShardUnit> units)
      : transport_(transport), units_(std::move(units)) {
    const std::array<int64_t, 2> sizes = slot_bytes(units_);
    for (size_t i = 0; i < 2; ++i) {
      buffers_[i] = transport_.runtime().empty_on_device({sizes[i]}, at::kByte);
    }
  }
  bool is_resident() const override { return false; }

 private:
  /// The buffer is that of a unit dropped before; the transport's stream waits for what the compute stream
  /// has been given until now, and so for everything that reads that unit.
  GatheredUnit start(size_t unit) override {
    const ShardUnit& shards = units_.at(unit);
    GatheredUnit gathered;
    gathered.matrices = whole_views(buffers_[unit % 2], whole_matrices(shards));
    std::vector<NcclGather> gathers;
    for (size_t i = 0; i < shards.size(); ++i) {
      gathers.push_back({shards[i].rows, gathered.matrices[i], shards[i].partition});
    }
    gathered.works.push_back(transport_.gather(gathers));
    return gathered;
  }

  NcclTransport& transport_;
  std::vector<ShardUnit> units_;
  std::array<at::Tensor, 2> buffers_;  // bytes, by unit mod 2
};

}  // namespace

std::unique_ptr<ShardStore> make_nccl_shards(Communicator& host, NcclTransport& transport,
                                             std::vector<ShardUnit> units) {
  std::unique_ptr<ShardStore> store;
  collectively(host, [&] {
    move_to_device(transport.runtime(), units);
    if (host.world_size() == 1) {
      store = std::make_unique<ResidentShards>(rows_of(units));
    } else {
      store = std::make_unique<NcclShards>(transport, std::move(units));
    }
  });
  return store;
}

}  // namespace spq::dist
