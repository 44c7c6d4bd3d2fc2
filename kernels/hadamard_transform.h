// Hadamard transforms of rows in fp32 or double, in place: what the row kernels with a Hadamard in them
// share.
#pragma once

#include <cstdint>

#include "kernels/hadamard.h"
#include "kernels/hadamard_mix.h"

namespace spq::kernels {

/// Transforms by H or its transpose without the factor 1 / sqrt(block). Holds scratch memory: one per thread.
template <class A>
class HadamardTransform {
 public:
  explicit HadamardTransform(const HadamardPlan& plan);
  /// Every row of v [rows, n], in place.
  void apply(A* v, int64_t rows, HadamardDirection direction);
  /// 1 / sqrt(block): makes apply orthonormal.
  A norm() const { return norm_; }
  /// Rows that fill a good part of the first-level cache; at least 1.
  int64_t rows_per_block() const;

 private:
  HadamardPlan plan_;
  A norm_;
  FactorMix<A> mix_;
};

}  // namespace spq::kernels
