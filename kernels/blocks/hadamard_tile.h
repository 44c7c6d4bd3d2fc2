// The way of a tile of rows from global to shared memory and back.
#pragma once

#include "kernels/blocks/hadamard_walsh.h"
#include "kernels/blocks/rows.h"

namespace spq::kernels::blocks {

/// A tile in shared memory on its way from and to global memory. kItem: 8 neighbouring values a thread, whose
/// three lowest levels of butterflies are done in registers, or 1.
template <class T, int kItem>
struct HadamardTile {
  static constexpr int kLevels = kItem == 8 ? 3 : 0;
  static constexpr int kColumns = kItem == 8 ? 4 : 1;                            // packs of shared memory
  static constexpr int kWidth = kItem == 8 ? (kWide<T> < 8 ? kWide<T> : 8) : 1;  // of global memory

  template <class Block, class Values>
  SPQ_BLOCK static void load(Block& block, const Values& values, const T* x, int count) {
    block.for_threads([&](int t) {
      for (int i = t * kItem; i < count; i += block.threads() * kItem) {
        float v[kItem];
        SPQ_UNROLL
        for (int k = 0; k < kItem; k += kWidth) {
          const Pack<T, kWidth> pack = load_pack<kWidth>(x + i + k);
          SPQ_UNROLL
          for (int w = 0; w < kWidth; ++w) v[k + w] = number(pack.v[w]);
        }
        butterflies(v);
        SPQ_UNROLL
        for (int k = 0; k < kItem; k += kColumns) {
          Pack<float, kColumns> pack;
          SPQ_UNROLL
          for (int c = 0; c < kColumns; ++c) pack.v[c] = v[k + c];
          values.template set_pack<kColumns>(slot(i) + k, pack);
        }
      }
    });
  }

  /// Calls f(first value, kWidth values) with the lowest levels undone (done, if those above were).
  template <bool kButterflies, class Block, class Values, class F>
  SPQ_BLOCK static void unload(Block& block, const Values& values, int count, const F& f) {
    block.for_threads([&](int t) {
      for (int i = t * kItem; i < count; i += block.threads() * kItem) {
        float v[kItem];
        SPQ_UNROLL
        for (int k = 0; k < kItem; k += kColumns) {
          const Pack<float, kColumns> pack = values.template get_pack<kColumns>(slot(i) + k);
          SPQ_UNROLL
          for (int c = 0; c < kColumns; ++c) v[k + c] = pack.v[c];
        }
        if constexpr (kButterflies) butterflies(v);
        SPQ_UNROLL
        for (int k = 0; k < kItem; k += kWidth) {
          Pack<float, kWidth> pack;
          SPQ_UNROLL
          for (int w = 0; w < kWidth; ++w) pack.v[w] = v[k + w];
          f(i + k, pack);
        }
      }
    });
  }
};

}  // namespace spq::kernels::blocks
