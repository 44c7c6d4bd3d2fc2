#include "dist/nccl_communicator.h"

#include <utility>

#include "core/error.h"
#include "dist/arguments.h"
#include "dist/nccl_transport.h"

namespace spq::dist {

namespace {

class NcclCommunicator final : public Communicator {
 public:
  NcclCommunicator(Communicator& host, std::shared_ptr<DeviceRuntime> runtime, const NcclOptions& options)
      : host_(host), runtime_(std::move(runtime)), transport_(host, runtime_, options) {}

  int rank() const override { return host_.rank(); }
  int world_size() const override { return host_.world_size(); }
  std::string_view backend() const override { return "nccl"; }

  void barrier() override {
    transport_.watch().check();
    host_.barrier();
  }

  std::unique_ptr<Work> all_gather_rows(const at::Tensor& shard, const at::Tensor& whole,
                                        const RowPartition& rows) override {
    if (!runtime_->owns(whole)) return host_.all_gather_rows(shard, whole, rows);
    assert_gather_arguments(*this, shard, whole, rows, runtime_->device());
    return transport_.gather({{shard, whole, rows}});
  }

  void all_to_all(std::span<const at::Tensor> send, std::span<at::Tensor> receive) override {
    SPQ_ASSERT(!send.empty());
    if (!runtime_->owns(send[0])) return host_.all_to_all(send, receive);
    assert_exchange_arguments(*this, send, receive, runtime_->device());
    transport_.all_to_all(send, receive);
  }

  void broadcast(at::Tensor& tensor, int root) override {
    if (!runtime_->owns(tensor)) return host_.broadcast(tensor, root);
    assert_broadcast_arguments(*this, tensor, root, runtime_->device());
    transport_.broadcast(tensor, root);
  }

  std::unique_ptr<ShardStore> make_shards(std::vector<ShardUnit> units) override {
    assert_shard_arguments(*this, units);
    return make_nccl_shards(host_, transport_, std::move(units));
  }

  void set_timeout(double seconds) override {
    transport_.watch().set_timeout(seconds);
    host_.set_timeout(seconds);
  }

  void abort(std::string_view reason) noexcept override {
    transport_.watch().end(reason);
    host_.abort(reason);
  }
  std::string end_reason() const override { return host_.end_reason(); }

 private:
  Communicator& host_;
  std::shared_ptr<DeviceRuntime> runtime_;
  NcclTransport transport_;
};

}  // namespace

std::unique_ptr<Communicator> make_nccl_communicator(Communicator& host,
                                                     std::shared_ptr<DeviceRuntime> runtime,
                                                     const NcclOptions& options) {
  return std::make_unique<NcclCommunicator>(host, std::move(runtime), options);
}

}  // namespace spq::dist
