// Where whole matrices lie one after another in one block of memory.
#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "dist/shard_store.h"

namespace spq::dist {

/// Bytes for all matrices of `unit`, whole, each on a page of its own.
int64_t whole_bytes(const ShardUnit& unit);

/// For each unit parity, the bytes of the largest unit of that parity: what the two gathered units need.
std::array<int64_t, 2> slot_bytes(std::span<const ShardUnit> units);

/// The unit's matrices, whole, as views of the memory from `begin` on; it must stay alive. Same places on
/// every rank.
std::vector<at::Tensor> whole_views(std::byte* begin, const ShardUnit& unit);

/// A whole matrix without its values.
struct WholeMatrix {
  std::vector<int64_t> sizes;
  at::ScalarType dtype;
};

/// The unit's matrices, whole.
std::vector<WholeMatrix> whole_matrices(const ShardUnit& unit);

/// The places of whole_views() in `memory` (bytes, on any device) as views of it.
std::vector<at::Tensor> whole_views(const at::Tensor& memory, std::span<const WholeMatrix> matrices);

/// Moves this rank's rows of all units to their places in the memory from `begin` on, units one after
/// another, and returns the whole matrices there. Each of `units`' tensors is released as soon as it is
/// copied. `before_copy` is called with the place of each before it is written.
std::vector<std::vector<at::Tensor>> move_into(
    std::byte* begin, std::vector<ShardUnit>& units, int rank,
    const std::function<void(const at::Tensor& rows)>& before_copy = {});

/// This rank's rows of a whole matrix.
at::Tensor own_rows(const at::Tensor& whole, const RowPartition& partition, int rank);

}  // namespace spq::dist
