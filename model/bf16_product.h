// Products of bf16 matrices that are summed, and stay, in fp32.
#pragma once

#include <ATen/core/Tensor.h>

namespace spq::model {

/// m += a^T b for bf16 a, b [rows, n] and contiguous fp32 m [n, n], on a GPU and where MKL and the processor
/// multiply bf16 natively; returns false, nothing done, where they do not or the dtypes are others.
///
/// The alternatives, 2048 rows of 4096 on two Sapphire Rapids cores: converting to fp32 first takes 5.6 times
/// as long for the same error (relative error of m - m^T against double: 1.6e-7 here, 1.4e-7 there). at::mm
/// on bf16 rounds its result to bf16: 2.7 times as long and an error of 1.8e-3.
bool add_bf16_product(at::Tensor& m, const at::Tensor& a, const at::Tensor& b);

/// Whether this host's processor and MKL multiply bf16 natively.
bool multiplies_bf16();

/// Rows of bf16 values, one every `stride` values; `transposed` makes columns of them.
struct Bf16Rows {
  const void* values;
  int64_t stride;
  bool transposed = false;
};
struct ProductSize {
  int64_t rows, columns, depth;
};

/// c = a b, or c += a b, for contiguous fp32 c [rows, columns], a [rows, depth], b [depth, columns], where
/// multiplies_bf16(). In one thread if called from a thread of for_tasks (rows.h).
void bf16_product(float* c, const ProductSize& size, const Bf16Rows& a, const Bf16Rows& b, bool add);

/// Whether bf16_product can multiply these: bf16 a [m, k] and b [k, n] in the memory of a host that
/// multiplies_bf16().
bool multiplies_in_bf16(const at::Tensor& a, const at::Tensor& b);

/// c = a b, or c += a b, for contiguous fp32 c [m, n]. b may be the transpose of a contiguous matrix.
void bf16_product(const at::Tensor& c, const at::Tensor& a, const at::Tensor& b, bool add);

}  // namespace spq::model
