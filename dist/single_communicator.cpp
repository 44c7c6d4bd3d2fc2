#include "dist/single_communicator.h"

#include "dist/arguments.h"

namespace spq::dist {

namespace {

class DoneWork final : public Work {
 public:
  void wait() override {}
};

}  // namespace

std::unique_ptr<Work> SingleCommunicator::all_gather_rows(const at::Tensor& shard, const at::Tensor& whole,
                                                          const RowPartition& rows) {
  assert_gather_arguments(*this, shard, whole, rows);
  copy_bytes(shard, whole);
  return std::make_unique<DoneWork>();
}

void SingleCommunicator::all_to_all(std::span<const at::Tensor> send, std::span<at::Tensor> receive) {
  assert_exchange_arguments(*this, send, receive);
  copy_bytes(send[0], receive[0]);
}

void SingleCommunicator::broadcast(at::Tensor& tensor, int root) {
  assert_broadcast_arguments(*this, tensor, root);
}

std::unique_ptr<ShardStore> SingleCommunicator::make_shards(std::vector<ShardUnit> units) {
  assert_shard_arguments(*this, units);
  return std::make_unique<ResidentShards>(rows_of(units));
}

}  // namespace spq::dist
