// What every backend checks and does with the tensors of a call.
#pragma once

#include <ATen/core/Tensor.h>

#include <span>
#include <vector>

#include "dist/communicator.h"

namespace spq::dist {

/// Asserts what all_gather_rows promises: contiguous tensors of one dtype on `device`, rows of one shape,
/// this rank's count.
void assert_gather_arguments(const Communicator& comm, const at::Tensor& shard, const at::Tensor& whole,
                             const RowPartition& rows, c10::Device device = c10::kCPU);

/// Asserts one contiguous tensor on `device` per rank on both sides.
void assert_exchange_arguments(const Communicator& comm, std::span<const at::Tensor> send,
                               std::span<const at::Tensor> receive, c10::Device device = c10::kCPU);

/// Asserts a contiguous tensor on `device` and a root that exists.
void assert_broadcast_arguments(const Communicator& comm, const at::Tensor& tensor, int root,
                                c10::Device device = c10::kCPU);

/// Asserts what make_shards promises: contiguous host tensors with this rank's count of rows.
void assert_shard_arguments(const Communicator& comm, std::span<const ShardUnit> units);

/// This rank's rows, without their partitions.
std::vector<std::vector<at::Tensor>> rows_of(std::span<const ShardUnit> units);

/// Copies the bytes of `from` over those of `to`: as many bytes, or it asserts. The same memory is left
/// alone.
void copy_bytes(const at::Tensor& from, const at::Tensor& to);

}  // namespace spq::dist
