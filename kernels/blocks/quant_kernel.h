// Fake quantization of rows and groups: every value is read once, kept in registers while the team finds the
// range, and written once.
#pragma once

#include "kernels/blocks/launch.h"
#include "kernels/blocks/quantize.h"

namespace spq::kernels::blocks {

template <class T, int kWidth, int kSlots>
struct FakeQuantKernel {
  static constexpr int kMaxThreads = kLargestBlock;
  UnitLayout layout;
  const T* x;
  T* x_hat;
  T* error;
  QuantSpec spec;

  LaunchShape shape() const {
    return {layout.threads, layout.blocks(), shared_size<Extremes>(reduce_scratch(layout.team))};
  }

  template <class Block>
  SPQ_BLOCK void operator()(Block& block) const {
    typename Block::template PerThread<KeptPacks<T, kWidth, kSlots>> kept(block);
    typename Block::template PerThread<Extremes> extremes(block);
    const auto scratch = block.template shared<Extremes>(reduce_scratch(layout.team));
    const int together = layout.units_per_block();
    for (int64_t first = block.index() * together; first < layout.units; first += block.count() * together) {
      block.for_threads_apart([&](int t) {
        extremes[t] = Extremes::identity();
        const int64_t unit = first + t / layout.team;
        if (unit >= layout.units) return;
        const T* values = x + unit * layout.length;
        for_packs<kWidth, kSlots>(t % layout.team, layout.team, layout.length, [&](int slot, int64_t i) {
          const Pack<T, kWidth> pack = kept[t].load(slot, values + i);
          SPQ_UNROLL
          for (int k = 0; k < kWidth; ++k) extremes[t].add(number(pack.v[k]));
        });
      });
      block.template reduce<Extremes>(extremes, layout.team, scratch);
      block.for_threads_apart([&](int t) {
        const int64_t unit = first + t / layout.team;
        if (unit >= layout.units) return;
        const int64_t begin = unit * layout.length;
        with_quantizer(range_between(extremes[t].numbers(), spec), [&](const auto& quantizer) {
          for_packs<kWidth, kSlots>(t % layout.team, layout.team, layout.length, [&](int slot, int64_t i) {
            quantize_pack<kWidth>(numbers(kept[t].again(slot, x + begin + i)), quantizer,
                                  at(x_hat, begin + i), at(error, begin + i));
          });
        });
      });
    }
  }
};

template <class T, class Launcher>
LaunchResult launch_fake_quant(const Launcher& launch, const T* x, T* x_hat, T* error, int64_t rows,
                               int64_t cols, const QuantSpec& spec) {
  if (rows * cols == 0 || (!x_hat && !error)) return {};
  const int64_t length = group_length(cols, spec);
  const int64_t units = rows * (cols / length);
  constexpr int kWide = blocks::kWide<T>;
  if (!aligned(x, x_hat, error) || length % kWide != 0) {
    return launch(FakeQuantKernel<T, 1, 0>{unit_layout(length, units, length, 0), x, x_hat, error, spec});
  }
  const int64_t packs = length / kWide;
  const int slots = slots_for(packs, 8);
  const UnitLayout layout = unit_layout(length, units, packs, slots);
  if (slots == 1) return launch(FakeQuantKernel<T, kWide, 1>{layout, x, x_hat, error, spec});
  if (slots == 4) return launch(FakeQuantKernel<T, kWide, 4>{layout, x, x_hat, error, spec});
  if (slots == 8) return launch(FakeQuantKernel<T, kWide, 8>{layout, x, x_hat, error, spec});
  return launch(FakeQuantKernel<T, kWide, 0>{layout, x, x_hat, error, spec});
}

}  // namespace spq::kernels::blocks
