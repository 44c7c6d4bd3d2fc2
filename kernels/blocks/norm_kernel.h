// RMSNorm of rows, alone and with the quantization of its result.
#pragma once

#include <cmath>

#include "kernels/blocks/launch.h"
#include "kernels/blocks/quantize.h"

namespace spq::kernels::blocks {

/// What one pass over a row finds out.
struct RowSums {
  float squares;
  float products;  // with a second row

  SPQ_BLOCK static RowSums identity() { return {0.0f, 0.0f}; }
  SPQ_BLOCK static RowSums join(RowSums a, RowSums b) {
    return {a.squares + b.squares, a.products + b.products};
  }
};

struct RowStatistics {
  float squares;
  Extremes extremes;

  SPQ_BLOCK static RowStatistics identity() { return {0.0f, Extremes::identity()}; }
  SPQ_BLOCK static RowStatistics join(RowStatistics a, RowStatistics b) {
    return {a.squares + b.squares, Extremes::join(a.extremes, b.extremes)};
  }
};

SPQ_BLOCK float inverse_rms(float squares, int64_t cols, float eps) {
  return 1.0f / std::sqrt(squares / static_cast<float>(cols) + eps);
}

/// The range of a normalised group from the extremes of the group: r > 0 and rounding keep the order.
template <class T>
SPQ_BLOCK QuantRange<float> normed_range(const Extremes& extremes, float r, const QuantSpec& spec) {
  const MinMax<float> m = extremes.numbers();
  return range_between(MinMax<float>{through_storage<T>(m.min * r), through_storage<T>(m.max * r)}, spec);
}

/// The normalised values, rounded to T.
template <class T, int kWidth>
SPQ_BLOCK Pack<float, kWidth> normed(const Pack<T, kWidth>& pack, float r) {
  Pack<float, kWidth> values;
  SPQ_UNROLL
  for (int k = 0; k < kWidth; ++k) values.v[k] = through_storage<T>(number(pack.v[k]) * r);
  return values;
}

/// kQuantize: x_hat and error of the normalised row, one scale for the row; otherwise the row itself into
/// x_hat.
template <class T, int kWidth, int kSlots, bool kQuantize>
struct RmsNormKernel {
  static constexpr int kMaxThreads = kLargestBlock;
  UnitLayout layout;
  const T* x;
  T* x_hat;
  T* error;
  float eps;
  QuantSpec spec;

  LaunchShape shape() const {
    return {layout.threads, layout.blocks(), shared_size<RowStatistics>(reduce_scratch(layout.team))};
  }

  template <class Block>
  SPQ_BLOCK void operator()(Block& block) const {
    typename Block::template PerThread<KeptPacks<T, kWidth, kSlots>> kept(block);
    typename Block::template PerThread<RowStatistics> row(block);
    const auto scratch = block.template shared<RowStatistics>(reduce_scratch(layout.team));
    const int together = layout.units_per_block();
    for (int64_t first = block.index() * together; first < layout.units; first += block.count() * together) {
      block.for_threads_apart([&](int t) {
        row[t] = RowStatistics::identity();
        const int64_t unit = first + t / layout.team;
        if (unit >= layout.units) return;
        for_packs<kWidth, kSlots>(t % layout.team, layout.team, layout.length, [&](int slot, int64_t i) {
          const Pack<float, kWidth> v = numbers(kept[t].load(slot, x + unit * layout.length + i));
          SPQ_UNROLL
          for (int k = 0; k < kWidth; ++k) {
            row[t].squares += v.v[k] * v.v[k];
            if constexpr (kQuantize) row[t].extremes.add(v.v[k]);
          }
        });
      });
      block.template reduce<RowStatistics>(row, layout.team, scratch);
      block.for_threads_apart([&](int t) {
        const int64_t unit = first + t / layout.team;
        if (unit < layout.units) write(kept[t], row[t], t % layout.team, unit * layout.length);
      });
    }
  }

  SPQ_BLOCK void write(const KeptPacks<T, kWidth, kSlots>& kept, const RowStatistics& row, int lane,
                       int64_t begin) const {
    const float r = inverse_rms(row.squares, layout.length, eps);
    if constexpr (kQuantize) {
      with_quantizer(normed_range<T>(row.extremes, r, spec), [&](const auto& quantizer) {
        for_packs<kWidth, kSlots>(lane, layout.team, layout.length, [&](int slot, int64_t i) {
          quantize_pack<kWidth>(normed(kept.again(slot, x + begin + i), r), quantizer, at(x_hat, begin + i),
                                at(error, begin + i));
        });
      });
    } else {
      for_packs<kWidth, kSlots>(lane, layout.team, layout.length, [&](int slot, int64_t i) {
        Pack<T, kWidth> pack = kept.again(slot, x + begin + i);
        SPQ_UNROLL
        for (int k = 0; k < kWidth; ++k) pack.v[k] = to_storage<T>(number(pack.v[k]) * r);
        store_pack(x_hat + begin + i, pack);
      });
    }
  }
};

template <class T, bool kQuantize, class Launcher>
LaunchResult launch_norm(const Launcher& launch, const T* x, T* x_hat, T* error, int64_t rows, int64_t cols,
                         double eps, const QuantSpec& spec) {
  const auto e = static_cast<float>(eps);
  constexpr int kWide = blocks::kWide<T>;
  if (!aligned(x, x_hat, error) || cols % kWide != 0) {
    return launch(
        RmsNormKernel<T, 1, 0, kQuantize>{unit_layout(cols, rows, cols, 0), x, x_hat, error, e, spec});
  }
  const int64_t packs = cols / kWide;
  const int slots = slots_for(packs, 8);
  const UnitLayout layout = unit_layout(cols, rows, packs, slots);
  if (slots == 1) return launch(RmsNormKernel<T, kWide, 1, kQuantize>{layout, x, x_hat, error, e, spec});
  if (slots == 4) return launch(RmsNormKernel<T, kWide, 4, kQuantize>{layout, x, x_hat, error, e, spec});
  if (slots == 8) return launch(RmsNormKernel<T, kWide, 8, kQuantize>{layout, x, x_hat, error, e, spec});
  return launch(RmsNormKernel<T, kWide, 0, kQuantize>{layout, x, x_hat, error, e, spec});
}

template <class T, class Launcher>
LaunchResult launch_rms_norm(const Launcher& launch, const T* x, T* y, int64_t rows, int64_t cols,
                             double eps) {
  if (rows * cols == 0) return {};
  return launch_norm<T, false>(launch, x, y, static_cast<T*>(nullptr), rows, cols, eps, QuantSpec{});
}

}  // namespace spq::kernels::blocks
