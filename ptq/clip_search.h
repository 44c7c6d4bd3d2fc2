// The least-error range of one group of weights, searched over a grid of shrunken ranges.
#pragma once

#include <array>
#include <cstdint>

#include "ptq/weight_quantizer.h"

namespace spq::ptq {

constexpr int kClipSteps = 80;

/// Candidate i: the range times p = 1 - i / 100. A scale of 0: not a candidate.
struct ClipCandidates {
  std::array<float, kClipSteps> scale;
  std::array<float, kClipSteps> zero;
};

/// The candidate with the least sum over the group of |Q(w) - w|^2.4; of equals the least i. `fallback` where
/// there is none. w: n finite values; codes as code_range(spec) has them. The sum is taken in fp32.
/// Values far from the middle are visited first, because a narrow range shows its error there and is dropped.
GroupParams search_clip(const float* w, int64_t n, const WeightQuantSpec& spec, GroupParams fallback,
                        const ClipCandidates& candidates);

}  // namespace spq::ptq
