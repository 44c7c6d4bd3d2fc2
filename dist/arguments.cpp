#include "dist/arguments.h"

#include <cstring>

#include "core/error.h"

namespace spq::dist {

namespace {

bool is_plain(const at::Tensor& tensor, c10::Device device) {
  return tensor.defined() && tensor.device() == device && tensor.is_contiguous();
}

}  // namespace

void assert_gather_arguments(const Communicator& comm, const at::Tensor& shard, const at::Tensor& whole,
                             const RowPartition& rows, c10::Device device) {
  SPQ_ASSERT(is_plain(shard, device) && is_plain(whole, device));
  SPQ_ASSERT(rows.world_size() == comm.world_size());
  SPQ_ASSERT(shard.dim() >= 1 && shard.dim() == whole.dim());
  SPQ_ASSERT(shard.scalar_type() == whole.scalar_type());
  SPQ_ASSERT(shard.size(0) == rows.count(comm.rank()));
  SPQ_ASSERT(whole.size(0) == rows.num_rows());
  SPQ_ASSERT(shard.sizes().slice(1) == whole.sizes().slice(1));
}

void assert_exchange_arguments(const Communicator& comm, std::span<const at::Tensor> send,
                               std::span<const at::Tensor> receive, c10::Device device) {
  const auto world = static_cast<size_t>(comm.world_size());
  SPQ_ASSERT(send.size() == world && receive.size() == world);
  for (size_t r = 0; r < world; ++r) SPQ_ASSERT(is_plain(send[r], device) && is_plain(receive[r], device));
  const auto self = static_cast<size_t>(comm.rank());
  SPQ_ASSERT(send[self].nbytes() == receive[self].nbytes());
}

void assert_broadcast_arguments(const Communicator& comm, const at::Tensor& tensor, int root,
                                c10::Device device) {
  SPQ_ASSERT(is_plain(tensor, device));
  SPQ_ASSERT(root >= 0 && root < comm.world_size());
}

void assert_shard_arguments(const Communicator& comm, std::span<const ShardUnit> units) {
  for (const ShardUnit& unit : units) {
    for (const Shard& shard : unit) {
      SPQ_ASSERT(is_plain(shard.rows, c10::kCPU) && shard.rows.dim() >= 1);
      SPQ_ASSERT(shard.partition.world_size() == comm.world_size());
      SPQ_ASSERT(shard.rows.size(0) == shard.partition.count(comm.rank()));
    }
  }
}

std::vector<std::vector<at::Tensor>> rows_of(std::span<const ShardUnit> units) {
  std::vector<std::vector<at::Tensor>> rows;
  for (const ShardUnit& unit : units) {
    std::vector<at::Tensor>& matrices = rows.emplace_back();
    for (const Shard& shard : unit) matrices.push_back(shard.rows);
  }
  return rows;
}

void copy_bytes(const at::Tensor& from, const at::Tensor& to) {
  SPQ_ASSERT(from.nbytes() == to.nbytes());
  if (from.nbytes() == 0 || from.const_data_ptr() == to.const_data_ptr()) return;
  std::memcpy(to.mutable_data_ptr(), from.const_data_ptr(), from.nbytes());
}

}  // namespace spq::dist
