// One process, no MPI: a world of one rank.
#pragma once

#include "dist/communicator.h"

namespace spq::dist {

/// Every collective is a copy, done when the call returns. abort() has nobody to end and does nothing.
class SingleCommunicator final : public Communicator {
 public:
  int rank() const override { return 0; }
  int world_size() const override { return 1; }
  std::string_view backend() const override { return "single"; }
  void barrier() override {}
  std::unique_ptr<Work> all_gather_rows(const at::Tensor& shard, const at::Tensor& whole,
                                        const RowPartition& rows) override;
  void all_to_all(std::span<const at::Tensor> send, std::span<at::Tensor> receive) override;
  void broadcast(at::Tensor& tensor, int root) override;
  std::unique_ptr<ShardStore> make_shards(std::vector<ShardUnit> units) override;
  void set_timeout(double) override {}
  void abort(std::string_view) noexcept override {}
};

}  // namespace spq::dist
