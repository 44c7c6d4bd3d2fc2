// The gradient of RMSNorm, added to what is there.
#pragma once

#include "kernels/blocks/norm_kernel.h"

namespace spq::kernels::blocks {

template <class T, int kWidth, int kSlots>
struct RmsNormGradientKernel {
  static constexpr int kMaxThreads = kLargestBlock;
  UnitLayout layout;
  const T* x;
  const T* dy;
  T* dx;
  float eps;

  using Kept = KeptPacks<T, kWidth, kSlots>;

  LaunchShape shape() const {
    return {layout.threads, layout.blocks(), shared_size<RowSums>(reduce_scratch(layout.team))};
  }

  template <class Block>
  SPQ_BLOCK void operator()(Block& block) const {
    typename Block::template PerThread<Kept> kept_x(block), kept_dy(block);
    typename Block::template PerThread<RowSums> sums(block);
    const auto scratch = block.template shared<RowSums>(reduce_scratch(layout.team));
    const int together = layout.units_per_block();
    for (int64_t first = block.index() * together; first < layout.units; first += block.count() * together) {
      block.for_threads_apart([&](int t) {
        sums[t] = RowSums::identity();
        const int64_t unit = first + t / layout.team;
        if (unit >= layout.units) return;
        const int64_t begin = unit * layout.length;
        for_packs<kWidth, kSlots>(t % layout.team, layout.team, layout.length, [&](int slot, int64_t i) {
          const Pack<float, kWidth> v = numbers(kept_x[t].load(slot, x + begin + i));
          const Pack<float, kWidth> g = numbers(kept_dy[t].load(slot, dy + begin + i));
          SPQ_UNROLL
          for (int k = 0; k < kWidth; ++k) {
            sums[t].squares += v.v[k] * v.v[k];
            sums[t].products += g.v[k] * v.v[k];
          }
        });
      });
      block.template reduce<RowSums>(sums, layout.team, scratch);
      block.for_threads_apart([&](int t) {
        const int64_t unit = first + t / layout.team;
        if (unit >= layout.units) return;
        add_gradient(kept_x[t], kept_dy[t], sums[t], t % layout.team, unit * layout.length);
      });
    }
  }

  SPQ_BLOCK void add_gradient(const Kept& kept_x, const Kept& kept_dy, const RowSums& sums, int lane,
                              int64_t begin) const {
    const float r = inverse_rms(sums.squares, layout.length, eps);
    const float slope = sums.products * r * r * r / static_cast<float>(layout.length);
    for_packs<kWidth, kSlots>(lane, layout.team, layout.length, [&](int slot, int64_t i) {
      const Pack<float, kWidth> v = numbers(kept_x.again(slot, x + begin + i));
      const Pack<float, kWidth> g = numbers(kept_dy.again(slot, dy + begin + i));
      Pack<T, kWidth> sum = load_pack<kWidth>(dx + begin + i);
      SPQ_UNROLL
      for (int k = 0; k < kWidth; ++k) {
        sum.v[k] = to_storage<T>(number(sum.v[k]) + (r * g.v[k] - slope * v.v[k]));
      }
      store_pack(dx + begin + i, sum);
    });
  }
};

template <class T, class Launcher>
LaunchResult launch_rms_norm_backward_add(const Launcher& launch, const T* x, const T* dy, T* dx,
                                          int64_t rows, int64_t cols, double eps) {
  if (rows * cols == 0) return {};
  const auto e = static_cast<float>(eps);
  constexpr int kWide = blocks::kWide<T>;
  if (!aligned(x, dy, dx) || cols % kWide != 0) {
    return launch(RmsNormGradientKernel<T, 1, 0>{unit_layout(cols, rows, cols, 0), x, dy, dx, e});
  }
  const int64_t packs = cols / kWide;
  const int slots = slots_for(packs, 4);
  const UnitLayout layout = unit_layout(cols, rows, packs, slots);
  if (slots == 1) return launch(RmsNormGradientKernel<T, kWide, 1>{layout, x, dy, dx, e});
  if (slots == 4) return launch(RmsNormGradientKernel<T, kWide, 4>{layout, x, dy, dx, e});
  return launch(RmsNormGradientKernel<T, kWide, 0>{layout, x, dy, dx, e});
}

}  // namespace spq::kernels::blocks
