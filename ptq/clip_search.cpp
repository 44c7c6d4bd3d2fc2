#include "ptq/clip_search.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/isa.h"
#include "kernels/round_even.h"

namespace spq::ptq {
namespace {

constexpr size_t kLanes = 16;  // candidates at a time
static_assert(kClipSteps % kLanes == 0);
constexpr int64_t kCheckEvery = 16;  // values

// |e|^2.4 = a^2 z^4 with a = e^2 and z = a^(-1/5). z starts from the exponent's fifth, within 4 %, and is
// corrected by a polynomial in r = 1 - a z^5 that approximates (1 - r)^(-1/5): exact to fp32 rounding, no
// division, and it vectorises, which std::pow does not. std::fma, because the compiler must not contract:
// errors are the same on every machine.
inline float power_2_4(float e) {
  const float a = e * e;
  const float bits = static_cast<float>(std::bit_cast<int32_t>(a));
  const float z = std::bit_cast<float>(static_cast<int32_t>(std::fma(-0.2f, bits, 1.2f * 1064866805.0f)));
  const float square = z * z;
  const float r = std::fma(-(a * z), square * square, 1.0f);  // a z first: z^5 overflows where a is 0
  float series = std::fma(0.067814196f, r, 0.07152591f);
  series = std::fma(series, r, 0.08787593f);
  series = std::fma(series, r, 0.11999439f);
  series = std::fma(series, r, 0.20000022f);
  const float root = std::fma(z, series * r, z);
  const float e_1_2 = a * (root * root);
  return e_1_2 * e_1_2;
}

// Some candidates, one in each lane.
struct Grids {
  std::array<float, kLanes> scale;
  std::array<float, kLanes> inverse;  // 1 / scale
  std::array<float, kLanes> low;      // code - zero of the smallest code
  std::array<float, kLanes> high;
};

inline Grids grids_of(const ClipCandidates& candidates, size_t first, const CodeRange& codes) {
  Grids grids;
  for (size_t j = 0; j < kLanes; ++j) {
    grids.scale[j] = candidates.scale[first + j];
    grids.inverse[j] = 1.0f / candidates.scale[first + j];
    grids.low[j] = static_cast<float>(codes.low) - candidates.zero[first + j];
    grids.high[j] = static_cast<float>(codes.high) - candidates.zero[first + j];
  }
  return grids;
}

// Where the level is 0 the error is w whatever the scale: such candidates are equals, to the last bit.
inline float error_power(float w, float scale, float inverse, float low, float high) {
  const float v = w * inverse;
  const float above = v < low ? low : v;
  return power_2_4(std::fma(kernels::round_even(above > high ? high : above), scale, -w));
}

// sums[j] = sum |error|^2.4 of a group; when all are more than `bound`, they may be any numbers more than
// that. Partial sums only grow, also after rounding, so nothing below the bound is dropped.
inline std::array<float, kLanes> error_sums(const float* w, int64_t n, const Grids& g, float bound) {
  std::array<float, kLanes> sums = {};
  for (int64_t i = 0; i < n;) {
    for (const int64_t stop = std::min(n, i + kCheckEvery); i < stop; ++i) {
      for (size_t j = 0; j < kLanes; ++j) {
        sums[j] += error_power(w[i], g.scale[j], g.inverse[j], g.low[j], g.high[j]);
      }
    }
    bool all_more = true;
    for (size_t j = 0; j < kLanes; ++j) all_more &= sums[j] > bound;
    if (all_more) break;
  }
  return sums;
}

// The values with those beyond half of the range first.
std::vector<float> far_values_first(const float* w, int64_t n) {
  std::vector<float> values(static_cast<size_t>(n));
  const auto [low, high] = std::minmax_element(w, w + n);
  const float middle = 0.5f * *low + 0.5f * *high;
  const float far = 0.5f * (*high - middle);
  int64_t front = 0;
  int64_t back = n - 1;
  for (int64_t i = 0; i < n; ++i) {
    const bool is_far = std::abs(w[i] - middle) > far;
    values[static_cast<size_t>(is_far ? front : back)] = w[i];
    front += is_far;
    back -= !is_far;
  }
  return values;
}

// The index of the best candidate; kClipSteps where there is none.
inline size_t best_candidate(const float* w, int64_t n, const ClipCandidates& candidates,
                             const CodeRange& codes) {
  float least = std::numeric_limits<float>::infinity();
  size_t best = kClipSteps;
  for (size_t first = 0; first < kClipSteps; first += kLanes) {
    const Grids grids = grids_of(candidates, first, codes);
    const std::array<float, kLanes> errors = error_sums(w, n, grids, least);
    for (size_t j = 0; j < kLanes; ++j) {
      const bool usable = grids.inverse[j] <= std::numeric_limits<float>::max();
      if (!usable || !(errors[j] < least)) continue;
      least = errors[j];
      best = first + j;
    }
  }
  return best;
}

}  // namespace

GroupParams search_clip(const float* w, int64_t n, const WeightQuantSpec& spec, GroupParams fallback,
                        const ClipCandidates& candidates) {
  const std::vector<float> values = far_values_first(w, n);
  size_t best = kClipSteps;
  kernels::run_vectorised([&] { best = best_candidate(values.data(), n, candidates, code_range(spec)); });
  if (best == kClipSteps) return fallback;
  return {candidates.scale[best], candidates.zero[best]};
}

}  // namespace spq::ptq
