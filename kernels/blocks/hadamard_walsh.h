// The power-of-two part of the Hadamard transform of a tile of rows in shared memory: butterflies, in
// registers for up to four levels at a time.
#pragma once

#include "kernels/blocks/hadamard_shape.h"

namespace spq::kernels::blocks {

/// Unnormalised Walsh-Hadamard transform of kCount values.
template <int kCount>
SPQ_BLOCK void butterflies(float (&v)[kCount]) {
  SPQ_UNROLL
  for (int h = 1; h < kCount; h *= 2) {
    SPQ_UNROLL
    for (int k = 0; k < kCount; ++k) {
      if (k & h) continue;
      const float a = v[k];
      v[k] = a + v[k + h];
      v[k + h] = a - v[k + h];
    }
  }
}

/// The levels at distances 2^log_h .. 2^(log_h + kLevels - 1) of `count` values.
template <int kLevels, class Block, class Values>
SPQ_BLOCK void walsh_pass(Block& block, const Values& values, int count, int log_h) {
  constexpr int kRadix = 1 << kLevels;
  block.for_threads([&](int t) {
    for (int q = t; q < count / kRadix; q += block.threads()) {
      const int base = ((q >> log_h) << (log_h + kLevels)) + (q & ((1 << log_h) - 1));
      float v[kRadix];
      SPQ_UNROLL
      for (int k = 0; k < kRadix; ++k) v[k] = values.get(slot(base + (k << log_h)));
      butterflies(v);
      SPQ_UNROLL
      for (int k = 0; k < kRadix; ++k) values.set(slot(base + (k << log_h)), v[k]);
    }
  });
}

/// All levels from 2^log_h on, in the fewest passes, of about equal size.
template <class Block, class Values>
SPQ_BLOCK void walsh(Block& block, const Values& values, int count, int log_h, int log_m) {
  while (log_h < log_m) {
    const int passes = (log_m - log_h + 3) / 4;
    const int levels = (log_m - log_h + passes - 1) / passes;
    if (levels == 4) {
      walsh_pass<4>(block, values, count, log_h);
    } else if (levels == 3) {
      walsh_pass<3>(block, values, count, log_h);
    } else if (levels == 2) {
      walsh_pass<2>(block, values, count, log_h);
    } else {
      walsh_pass<1>(block, values, count, log_h);
    }
    log_h += levels;
  }
}

}  // namespace spq::kernels::blocks
