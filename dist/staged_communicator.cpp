#include "dist/staged_communicator.h"

#include <utility>

#include "core/error.h"
#include "dist/arguments.h"

namespace spq::dist {

namespace {

/// A gather into host memory, copied on by the first wait().
class StagedWork final : public Work {
 public:
  StagedWork(DeviceRuntime& runtime, DeviceStream stream, std::unique_ptr<Work> on_host, at::Tensor shard,
             at::Tensor from, at::Tensor to)
      : runtime_(runtime),
        stream_(stream),
        on_host_(std::move(on_host)),
        shard_(std::move(shard)),
        from_(std::move(from)),
        to_(std::move(to)) {}

  void wait() override {
    if (!end_) {
      on_host_->wait();
      runtime_.copy(from_, to_, stream_);
      end_ = runtime_.record(stream_);
      end_->wait();  // the host memory is about to be used for something else
      from_.reset();
      shard_.reset();
    }
    end_->hold(runtime_.compute_stream());
  }

 private:
  DeviceRuntime& runtime_;
  DeviceStream stream_;
  std::unique_ptr<Work> on_host_;
  at::Tensor shard_;  // what the gather on the host reads
  at::Tensor from_;
  at::Tensor to_;
  std::shared_ptr<DeviceEvent> end_;
};

class StagedCommunicator final : public Communicator {
 public:
  StagedCommunicator(Communicator& host, std::shared_ptr<DeviceRuntime> runtime)
      : host_(host), runtime_(std::move(runtime)), copies_(runtime_->other_stream("copies")) {}

  int rank() const override { return host_.rank(); }
  int world_size() const override { return host_.world_size(); }
  std::string_view backend() const override { return "staged"; }
  void barrier() override { host_.barrier(); }

  std::unique_ptr<Work> all_gather_rows(const at::Tensor& shard, const at::Tensor& whole,
                                        const RowPartition& rows) override {
    if (!runtime_->owns(whole)) return host_.all_gather_rows(shard, whole, rows);
    assert_gather_arguments(*this, shard, whole, rows, runtime_->device());
    const std::vector<at::Tensor> mine = to_host({&shard, 1});
    const at::Tensor all = empty_like(whole);
    return std::make_unique<StagedWork>(*runtime_, copies_, host_.all_gather_rows(mine[0], all, rows),
                                        mine[0], all, whole);
  }

  void all_to_all(std::span<const at::Tensor> send, std::span<at::Tensor> receive) override {
    SPQ_ASSERT(!send.empty());
    if (!runtime_->owns(send[0])) return host_.all_to_all(send, receive);
    assert_exchange_arguments(*this, send, receive, runtime_->device());
    const std::vector<at::Tensor> sent = to_host(send);
    std::vector<at::Tensor> received;
    for (const at::Tensor& tensor : receive) received.push_back(empty_like(tensor));
    host_.all_to_all(sent, received);
    to_device(received, receive);
  }

  void broadcast(at::Tensor& tensor, int root) override {
    if (!runtime_->owns(tensor)) return host_.broadcast(tensor, root);
    assert_broadcast_arguments(*this, tensor, root, runtime_->device());
    std::vector<at::Tensor> staged = to_host({&tensor, 1});
    host_.broadcast(staged[0], root);
    to_device(staged, {&tensor, 1});
  }

  std::unique_ptr<ShardStore> make_shards(std::vector<ShardUnit> units) override {
    assert_shard_arguments(*this, units);
    return make_staged_shards(host_, *runtime_, std::move(units));
  }

  void set_timeout(double seconds) override { host_.set_timeout(seconds); }
  void abort(std::string_view reason) noexcept override { host_.abort(reason); }
  std::string end_reason() const override { return host_.end_reason(); }

 private:
  at::Tensor empty_like(const at::Tensor& tensor) {
    return runtime_->empty_on_host(tensor.sizes(), tensor.scalar_type());
  }

  /// Also what makes the copy stream come after the present readers of the results' memory.
  std::vector<at::Tensor> to_host(std::span<const at::Tensor> tensors) {
    runtime_->record(runtime_->compute_stream())->hold(copies_);
    std::vector<at::Tensor> staged;
    for (const at::Tensor& tensor : tensors) {
      staged.push_back(empty_like(tensor));
      runtime_->copy(tensor, staged.back(), copies_);
    }
    runtime_->record(copies_)->wait();
    return staged;
  }

  void to_device(std::span<const at::Tensor> staged, std::span<const at::Tensor> tensors) {
    for (size_t i = 0; i < staged.size(); ++i) runtime_->copy(staged[i], tensors[i], copies_);
    const std::shared_ptr<DeviceEvent> end = runtime_->record(copies_);
    end->hold(runtime_->compute_stream());
    end->wait();  // the host memory goes
  }

  Communicator& host_;
  std::shared_ptr<DeviceRuntime> runtime_;
  DeviceStream copies_;
};

}  // namespace

std::unique_ptr<Communicator> make_staged_communicator(Communicator& host,
                                                       std::shared_ptr<DeviceRuntime> runtime) {
  return std::make_unique<StagedCommunicator>(host, std::move(runtime));
}

}  // namespace spq::dist
