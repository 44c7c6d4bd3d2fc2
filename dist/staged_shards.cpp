// Where frozen rows lie when ranks share a GPU: in host memory, one unit ahead on the GPU.
#include <utility>

#include "core/error.h"
#include "dist/arguments.h"
#include "dist/collectives.h"
#include "dist/device_rows.h"
#include "dist/shard_layout.h"
#include "dist/staged_communicator.h"
#include "dist/worker_thread.h"

namespace spq::dist {

namespace {

/// A unit on its way to the device. The copying thread fills in `end`.
struct UnitCopy {
  std::vector<at::Tensor> from;
  std::vector<at::Tensor> to;
  std::vector<std::unique_ptr<Work>> works;  // that complete `from`
  std::shared_ptr<DeviceEvent> before;       // its buffer is free
  std::shared_ptr<DeviceEvent> end;
};

class UnitWork final : public Work {
 public:
  UnitWork(DeviceRuntime& runtime, std::unique_ptr<Work> queued, std::shared_ptr<UnitCopy> copy)
      : runtime_(runtime), queued_(std::move(queued)), copy_(std::move(copy)) {}

  void wait() override {
    queued_->wait();
    copy_->end->hold(runtime_.compute_stream());
  }

 private:
  DeviceRuntime& runtime_;
  std::unique_ptr<Work> queued_;
  std::shared_ptr<UnitCopy> copy_;
};

class StagedShards final : public ShardStore {
 public:
  StagedShards(DeviceRuntime& runtime, std::array<int64_t, 2> sizes, std::unique_ptr<ShardStore> on_host)
      : runtime_(runtime), copies_(runtime.other_stream("unit copies")), on_host_(std::move(on_host)) {
    for (size_t i = 0; i < 2; ++i) buffers_[i] = runtime_.empty_on_device({sizes[i]}, at::kByte);
  }
  bool is_resident() const override { return false; }

 private:
  GatheredUnit start(size_t unit) override {
    GatheredUnit on_host = on_host_->gather(unit);
    std::vector<WholeMatrix> matrices;
    for (const at::Tensor& matrix : on_host.matrices) {
      matrices.push_back({matrix.sizes().vec(), matrix.scalar_type()});
    }
    const auto copy = std::make_shared<UnitCopy>();
    copy->from = std::move(on_host.matrices);
    copy->to = whole_views(buffers_[unit % 2], matrices);
    copy->works = std::move(on_host.works);
    copy->before = runtime_.record(runtime_.compute_stream());
    in_flight_[unit % 2] = copy;

    GatheredUnit gathered;
    gathered.matrices = copy->to;
    gathered.works.push_back(
        std::make_unique<UnitWork>(runtime_, worker_.run([this, copy] { run(*copy); }), copy));
    return gathered;
  }

  /// On the worker's thread: copies from memory that is not pinned block, and so do gathers on the host.
  void run(UnitCopy& copy) {
    runtime_.bind_thread();
    for (const std::unique_ptr<Work>& work : copy.works) work->wait();
    copy.before->hold(copies_);
    for (size_t i = 0; i < copy.from.size(); ++i) runtime_.copy(copy.from[i], copy.to[i], copies_);
    copy.end = runtime_.record(copies_);
  }

  void finish(size_t unit) override {
    const std::shared_ptr<UnitCopy> copy = std::move(in_flight_[unit % 2]);
    if (copy->end) copy->end->wait();  // none after a failed gather
    on_host_->drop(unit);
  }

  DeviceRuntime& runtime_;
  DeviceStream copies_;
  std::unique_ptr<ShardStore> on_host_;
  std::array<at::Tensor, 2> buffers_;                     // bytes, by unit mod 2
  std::array<std::shared_ptr<UnitCopy>, 2> in_flight_{};  // likewise
  WorkerThread worker_;                                   // last: it uses the rest
};

}  // namespace

std::unique_ptr<ShardStore> make_staged_shards(Communicator& host, DeviceRuntime& runtime,
                                               std::vector<ShardUnit> units) {
  const std::array<int64_t, 2> sizes = slot_bytes(units);
  if (host.world_size() == 1) {
    move_to_device(runtime, units);
    return std::make_unique<ResidentShards>(rows_of(units));
  }
  std::unique_ptr<ShardStore> on_host = host.make_shards(std::move(units));
  std::unique_ptr<ShardStore> store;
  collectively(host, [&] { store = std::make_unique<StagedShards>(runtime, sizes, std::move(on_host)); });
  return store;
}

}  // namespace spq::dist
