// The elementwise part of the gradient of causal attention, between products of bf16 matrices.
#pragma once

#include <cstdint>

#include "kernels/bfloat16.h"

namespace spq::kernels {

/// Scores q k of some rows with some keys in fp32, and the gradients of the probabilities, do v. Row r
/// sees the first visible + r / rows_per_key of the keys: none where that is negative, all where it exceeds
/// `keys`.
struct ScoreTile {
  const float* scores;  // [rows, keys]
  const float* gradients;
  int64_t rows;
  int64_t keys;
  int64_t visible;
  int64_t rows_per_key;
};

/// What a row's softmax is known by.
struct SoftmaxRows {
  const float* logsumexp;  // of the scaled scores
  const float* delta;      // scale (do o)
  float scale;
};

/// probabilities = e^(scale scores - logsumexp), score_gradients = probabilities (scale gradients - delta);
/// 0 for keys that a row does not see. Computed in fp32 and rounded once.
void softmax_gradient(const ScoreTile& tile, const SoftmaxRows& softmax, bfloat16* probabilities,
                      bfloat16* score_gradients);

/// out[r] = factor sum_j a[r][j] b[r][j].
void dot_rows(const bfloat16* a, const bfloat16* b, float* out, int64_t rows, int64_t cols, float factor);

/// out[i] = sum over p < parts of x[p * stride + i], for i < n; x[i] before it is rounded.
void narrow_sum(float* x, int64_t parts, int64_t stride, bfloat16* out, int64_t n);

}  // namespace spq::kernels
