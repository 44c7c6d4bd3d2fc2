// The factor of a Hadamard transform that is no power of two, applied to a tile of rows in shared memory.
#pragma once

#include <utility>

#include "kernels/blocks/hadamard_shape.h"

namespace spq::kernels::blocks {

/// Powers of two: nothing is left to do.
struct NoMix {
  template <int kColumns, class Block, class Values>
  SPQ_BLOCK void operator()(Block&, const Values&, const HadamardShape&, int, bool) const {}
};

/// Multiplies each column of m = 2^log_m by the matrix of order 28: a thread has the whole column in
/// registers. Each row is a choice among the sums and differences of neighbouring pairs.
struct Mix28 {
  template <int kColumns, class Block, class Values>
  SPQ_BLOCK void operator()(Block& block, const Values& values, const HadamardShape& shape, int count,
                            bool) const {
    static_assert(factor28_is_symmetric());  // so the transpose is the same
    const int log_m = shape.log_m;
    block.for_threads([&](int t) {
      for (int c = t; c < count / 28; c += block.threads()) {
        const int base = ((c >> log_m) * 28 << log_m) + (c & ((1 << log_m) - 1));
        float pairs[28];
        SPQ_UNROLL
        for (int k = 0; k < 28; k += 2) {
          const float a = values.get(slot(base + (k << log_m)));
          const float b = values.get(slot(base + ((k + 1) << log_m)));
          pairs[k] = a + b;
          pairs[k + 1] = a - b;
        }
        rows(values, pairs, base, log_m, std::make_integer_sequence<int, 28>());
      }
    });
  }

 private:
  template <class Values, int... kRow>
  SPQ_BLOCK static void rows(const Values& values, const float (&pairs)[28], int base, int log_m,
                             std::integer_sequence<int, kRow...>) {
    (values.set(slot(base + (kRow << log_m)), row<kRow>(pairs, std::make_integer_sequence<int, 14>())), ...);
  }
  template <int kRow, int... kPair>
  SPQ_BLOCK static float row(const float (&pairs)[28], std::integer_sequence<int, kPair...>) {
    float sum = 0.0f;
    ((sum = add<factor28_is_plus(kRow, 2 * kPair), factor28_is_plus(kRow, 2 * kPair + 1), kPair>(sum, pairs)),
     ...);
    return sum;
  }
  template <bool kPlusA, bool kPlusB, int kPair>
  SPQ_BLOCK static float add(float sum, const float (&pairs)[28]) {
    const float pair = pairs[2 * kPair + (kPlusA == kPlusB ? 0 : 1)];
    return kPlusA ? sum + pair : sum - pair;
  }
};

/// The same for any matrix of the table: a thread sums four rows of kColumns columns; as many columns at a
/// time as the block has threads for, since all of a column must be read before any of it is written.
struct FactorMix {
  FactorSigns signs;

  template <int kColumns, class Block, class Values>
  SPQ_BLOCK void operator()(Block& block, const Values& values, const HadamardShape& shape, int count,
                            bool transposed) const {
    typename Block::template PerThread<Sums<kColumns>> sums(block);
    const int order = shape.factor;
    const int tiles = order / 4;
    const int groups = count / (order * kColumns);
    const int together = block.threads() / tiles;
    const auto base_of = [&](int group) {
      const int per_block = (1 << shape.log_m) / kColumns;
      return ((group / per_block) * order << shape.log_m) + group % per_block * kColumns;
    };
    for (int first = 0; first < groups; first += together) {
      block.for_threads([&](int t) {
        const int group = first + t % together;
        if (t / together < tiles && group < groups) {
          add_rows(values, sums[t], base_of(group), t / together, shape, transposed);
        }
      });
      block.for_threads([&](int t) {
        const int group = first + t % together;
        if (t / together >= tiles || group >= groups) return;
        const int begin = base_of(group) + (t / together * 4 << shape.log_m);
        SPQ_UNROLL
        for (int r = 0; r < 4; ++r) {
          values.template set_pack<kColumns>(slot(begin + (r << shape.log_m)), sums[t].row[r]);
        }
      });
    }
  }

 private:
  template <int kColumns>
  struct Sums {
    Pack<float, kColumns> row[4];
  };

  template <int kColumns, class Values>
  SPQ_BLOCK void add_rows(const Values& values, Sums<kColumns>& sums, int base, int tile,
                          const HadamardShape& shape, bool transposed) const {
    sums = {};
    for (int j = 0; j < shape.factor; ++j) {
      const Pack<float, kColumns> v = values.template get_pack<kColumns>(slot(base + (j << shape.log_m)));
      // The four bits of rows 4 tile .. 4 tile + 3 in column j; transposed, of row j in those four columns.
      const int word = transposed ? j / 4 * FactorSigns::kWordsPerTile + tile / 2
                                  : tile * FactorSigns::kWordsPerTile + j / 8;
      const uint32_t bits = signs.words[word] >> (transposed ? tile % 2 * 16 + j % 4 : j % 8 * 4);
      const int step = transposed ? 4 : 1;
      SPQ_UNROLL
      for (int r = 0; r < 4; ++r) {
        const float sign = ((bits >> (r * step)) & 1u) != 0 ? 1.0f : -1.0f;
        SPQ_UNROLL
        for (int c = 0; c < kColumns; ++c) sums.row[r].v[c] = add_signed(sums.row[r].v[c], sign, v.v[c]);
      }
    }
  }
  /// sum + sign v, which is exact but for the sum: one instruction on a GPU, the same bits on the host.
  SPQ_BLOCK static float add_signed(float sum, float sign, float v) {
#if defined(__CUDA_ARCH__)
    return __fmaf_rn(sign, v, sum);
#else
    return sum + sign * v;
#endif
  }
};

}  // namespace spq::kernels::blocks
