// What the sources of the contract share.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/arange.h>

#include <cstdint>
#include <cstring>

#include "dist/communicator.h"

namespace spq::dist::testing {

inline bool same_bytes(const at::Tensor& a, const at::Tensor& b) {
  if (a.sizes() != b.sizes() || a.scalar_type() != b.scalar_type()) return false;
  return a.nbytes() == 0 || std::memcmp(a.const_data_ptr(), b.const_data_ptr(), a.nbytes()) == 0;
}

/// A [num_rows, width] matrix whose values all differ by place and by `seed`, the same on every rank.
inline at::Tensor numbered(int64_t num_rows, int64_t width, at::ScalarType dtype, int64_t seed = 0) {
  return at::arange(num_rows * width, at::kDouble).add_(1000 * seed).reshape({num_rows, width}).to(dtype);
}

/// This rank's rows in memory of their own.
inline at::Tensor own_rows(const Communicator& comm, const at::Tensor& whole, const RowPartition& rows) {
  return whole.narrow(0, rows.begin(comm.rank()), rows.count(comm.rank())).clone();
}

// The cases about make_shards (contract_shards.cpp).
void gathers_units_one_ahead_up_and_down(Communicator& comm);
void gathers_units_beside_other_collectives(Communicator& comm);
void keeps_stores_apart_and_works_after_their_end(Communicator& comm);
void copies_no_gathered_unit_that_is_resident(Communicator& comm);

}  // namespace spq::dist::testing
