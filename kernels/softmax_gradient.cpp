#include "kernels/softmax_gradient.h"

#include <algorithm>
#include <bit>
#include <cstdint>

#include "kernels/exponential.h"
#include "kernels/isa.h"
#include "kernels/reduce_row.h"

namespace spq::kernels {
namespace {

// To nearest as narrow does, but ties away from 0: half as many instructions, and ties are rare. Nor for a
// NaN with ones in the lower half.
bfloat16 narrow_away(float v) {
  bfloat16 narrowed;
  narrowed.bits = static_cast<uint16_t>((std::bit_cast<uint32_t>(v) + 0x8000u) >> 16);
  return narrowed;
}

}  // namespace

void softmax_gradient(const ScoreTile& tile, const SoftmaxRows& softmax, bfloat16* probabilities,
                      bfloat16* score_gradients) {
  run_vectorised([&] {
    for (int64_t r = 0; r < tile.rows; ++r) {
      const float* scores = tile.scores + r * tile.keys;
      const float* gradients = tile.gradients + r * tile.keys;
      bfloat16* p = probabilities + r * tile.keys;
      bfloat16* ds = score_gradients + r * tile.keys;
      const float scale = softmax.scale, logsumexp = softmax.logsumexp[r], delta = softmax.delta[r];
      const int64_t seen = std::clamp<int64_t>(tile.visible + r / tile.rows_per_key, 0, tile.keys);
      SPQ_INDEPENDENT
      for (int64_t j = 0; j < seen; ++j) {
        const float log = scale * scores[j] - logsumexp;  // 0 at most, but for rounding
        const float probability = row_exp_between(log < -88.0f ? -88.0f : log);
        p[j] = narrow_away(probability);
        ds[j] = narrow_away(probability * (scale * gradients[j] - delta));
      }
      std::fill(p + seen, p + tile.keys, bfloat16(0.0f));
      std::fill(ds + seen, ds + tile.keys, bfloat16(0.0f));
    }
  });
}

void dot_rows(const bfloat16* a, const bfloat16* b, float* out, int64_t rows, int64_t cols, float factor) {
  run_vectorised([=] {
    for (int64_t r = 0; r < rows; ++r) {
      out[r] = factor * dot<bfloat16, float>(a + r * cols, b + r * cols, cols);
    }
  });
}

void narrow_sum(float* x, int64_t parts, int64_t stride, bfloat16* out, int64_t n) {
  run_vectorised([=] {
    for (int64_t p = 1; p < parts; ++p) {
      const float* part = x + p * stride;
      SPQ_INDEPENDENT
      for (int64_t i = 0; i < n; ++i) x[i] += part[i];
    }
    SPQ_INDEPENDENT
    for (int64_t i = 0; i < n; ++i) out[i] = narrow<bfloat16>(x[i]);
  });
}

}  // namespace spq::kernels
