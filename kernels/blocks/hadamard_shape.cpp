#include "kernels/blocks/hadamard_shape.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "core/error.h"
#include "kernels/hadamard_factors.h"

namespace spq::kernels::blocks {

HadamardShape hadamard_shape(int64_t rows, const HadamardPlan& plan, int item) {
  constexpr int64_t kTile = 2048;
  constexpr int64_t kLongest = int64_t{1} << 24;  // far beyond any shared memory; keeps indices in 32 bits
  check(plan.n <= kLongest, "a Hadamard transform of {} values does not fit the shared memory of a GPU",
        plan.n);
  HadamardShape shape{};
  shape.rows = rows;
  shape.n = static_cast<int>(plan.n);
  shape.factor = static_cast<int>(plan.factor);
  shape.log_m = std::countr_zero(static_cast<uint64_t>(plan.block / plan.factor));
  shape.rows_per_tile = static_cast<int>(std::max<int64_t>(1, kTile / plan.n));
  shape.norm = static_cast<float>(1.0 / std::sqrt(static_cast<double>(plan.block)));
  const int64_t items = ceil_div(shape.rows_per_tile * plan.n, item);
  // At least as many threads as the largest factor has tiles of four rows (FactorMix).
  shape.threads = static_cast<int>(
      std::clamp<int64_t>(ceil_div(items, kWarp) * kWarp, 2 * kWarp, HadamardShape::kMaxThreads));
  return shape;
}

FactorSigns factor_signs(int order) {
  FactorSigns signs{};
  for (const HadamardFactor& f : hadamard_factors()) {
    if (f.order != order) continue;
    SPQ_ASSERT(order % 4 == 0 && order <= FactorSigns::kLargest);
    for (int i = 0; i < order; ++i) {
      for (int j = 0; j < order; ++j) {
        const uint32_t bit = f.sign(i, j) > 0 ? 1u : 0u;
        signs.words[i / 4 * FactorSigns::kWordsPerTile + j / 8] |= bit << (j % 8 * 4 + i % 4);
      }
    }
    return signs;
  }
  fail("no Hadamard matrix of order {} in the table", order);
}

}  // namespace spq::kernels::blocks
