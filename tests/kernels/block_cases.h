// What every block kernel must do, on the host and on a GPU: comparisons with the CPU kernels and with the
// definitions in double. Each reports through GoogleTest and returns a hash of the bits that came out.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/fake_quant.h"
#include "tests/kernels/block_device.h"

namespace spq::kernels::test {

struct RowCase {
  int64_t rows;
  int64_t cols;
  QuantSpec spec = {4, false, -1, true, 1.0};
  size_t offset = 0;  // values by which the rows are shifted from an aligned address
};

/// Bits 2, 4 and 8, with and without zero point and clipping, per row and (where they divide) groups of 24
/// and 128.
std::vector<QuantSpec> block_specs(int64_t cols);

/// Bit for bit the CPU kernel, and the definition in double but for ties.
template <class T>
uint64_t expect_fake_quant(BlockDevice& device, const RowCase& c);
/// In place, and with one output only: the bits of both outputs together.
template <class T>
void expect_fake_quant_in_place(BlockDevice& device, const RowCase& c);

/// Within rounding of the CPU kernel and of the definition in double.
template <class T>
uint64_t expect_rms_norm(BlockDevice& device, const RowCase& c);
template <class T>
uint64_t expect_rms_norm_gradient(BlockDevice& device, const RowCase& c);
/// The CPU kernel's values, but where a value lies on the edge between two codes.
template <class T>
uint64_t expect_rms_norm_quant(BlockDevice& device, const RowCase& c);

/// Within rounding of the transform in double, both directions, also in place.
template <class T>
uint64_t expect_hadamard(BlockDevice& device, const RowCase& c);
/// Seen through H, the error is the CPU kernel's but where a value lies on the edge between two codes.
template <class T>
uint64_t expect_hadamard_quant(BlockDevice& device, const RowCase& c);

template <class T>
uint64_t expect_rope(BlockDevice& device, int64_t tokens, int64_t heads, int64_t head_dim, size_t offset = 0);
template <class T>
uint64_t expect_swiglu(BlockDevice& device, int64_t n, size_t offset = 0);
template <class T>
uint64_t expect_cross_entropy(BlockDevice& device, const RowCase& c);

/// A NaN gives NaN, an infinite value a group of NaN; other rows keep their bits. For all kernels with rows.
template <class T>
void expect_nan_stays_in_its_row(BlockDevice& device, int64_t cols);

}  // namespace spq::kernels::test
