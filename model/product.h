// Products of activations with weights.
#pragma once

#include <ATen/core/Tensor.h>

#include <initializer_list>

namespace spq::model {

struct Term {
  at::Tensor x;  // [rows, k]
  at::Tensor w;  // [k, columns]; may be the transpose of a contiguous matrix
};

/// x w in the dtype of x, as at::mm, whose sums are in fp32 too. bf16 goes through MKL where that is faster:
/// on two Sapphire Rapids cores x w takes 0.5 to 0.75 of at::mm's time for the matrices of LLaMA-3-8B and 512
/// rows or more, x w^T 0.75 to 0.9 for 1024 rows or more.
at::Tensor product(const at::Tensor& x, const at::Tensor& w);
void product_out(const at::Tensor& out, const at::Tensor& x, const at::Tensor& w);

/// start + sum x_i w_i; `start` may be undefined: 0. Where MKL multiplies, the sum is rounded to bf16 once.
at::Tensor product_sum(const at::Tensor& start, std::initializer_list<Term> terms);

/// Whether a product of bf16 with so many rows takes a temporary of 4 bytes for each of its results on this
/// host, at the most.
bool product_sums_apart(int64_t rows);

}  // namespace spq::model
