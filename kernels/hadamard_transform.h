// Hadamard transforms of rows in fp32 or double, in place: what the row kernels with a Hadamard in them
// share.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/aligned.h"
#include "kernels/hadamard.h"

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
  // For each row and each four columns of the factor: which signed sum of four rows, of H and of its
  // transpose.
  std::vector<uint16_t> places_, transposed_places_;
  Scratch<A> sums_;  // all 16 signed sums of four rows, for some columns
};

}  // namespace spq::kernels
