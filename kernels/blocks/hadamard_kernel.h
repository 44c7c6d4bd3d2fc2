// Hadamard transforms of rows, and the quantization point seen through one: transform, quantization and
// inverse without leaving shared memory.
#pragma once

#include "kernels/blocks/hadamard_mix.h"
#include "kernels/blocks/hadamard_tile.h"
#include "kernels/blocks/hadamard_walsh.h"
#include "kernels/blocks/launch.h"
#include "kernels/blocks/quantize.h"

namespace spq::kernels::blocks {

template <class T, int kItem, class Mix>
struct HadamardKernel {
  static constexpr int kMaxThreads = HadamardShape::kMaxThreads;
  using Tile = HadamardTile<T, kItem>;
  HadamardShape layout;
  const T* x;
  T* y;
  bool inverse;
  Mix mix;

  LaunchShape shape() const {
    return {layout.threads, layout.tiles(), shared_size<float>(layout.tile_slots())};
  }

  template <class Block>
  SPQ_BLOCK void operator()(Block& block) const {
    const auto values = block.template shared<float>(layout.tile_slots());
    const int64_t step = block.count() * layout.rows_per_tile;
    for (int64_t row = block.index() * layout.rows_per_tile; row < layout.rows; row += step) {
      const int count = layout.rows_at(row) * layout.n;
      Tile::load(block, values, x + row * layout.n, count);
      walsh(block, values, count, Tile::kLevels, layout.log_m);
      mix.template operator()<Tile::kColumns>(block, values, layout, count, inverse);
      T* out = y + row * layout.n;
      Tile::template unload<false>(block, values, count, [&](int i, const Pack<float, Tile::kWidth>& v) {
        Pack<T, Tile::kWidth> pack;
        SPQ_UNROLL
        for (int k = 0; k < Tile::kWidth; ++k) pack.v[k] = to_storage<T>(v.v[k] * layout.norm);
        store_pack(out + i, pack);
      });
    }
  }
};

template <class T, int kItem, class Mix>
struct HadamardQuantKernel {
  static constexpr int kMaxThreads = HadamardShape::kMaxThreads;
  using Tile = HadamardTile<T, kItem>;
  HadamardShape layout;
  int length;  // of a group
  int team;    // of threads for it
  const T* x;
  T* x_hat;
  T* error;
  QuantSpec spec;
  Mix mix;

  LaunchShape shape() const {
    return {layout.threads, layout.tiles(),
            shared_size<float>(layout.tile_slots()) + shared_size<Extremes>(reduce_scratch(team))};
  }

  template <class Block>
  SPQ_BLOCK void operator()(Block& block) const {
    const auto values = block.template shared<float>(layout.tile_slots());
    const auto scratch = block.template shared<Extremes>(reduce_scratch(team));
    const int64_t step = block.count() * layout.rows_per_tile;
    for (int64_t row = block.index() * layout.rows_per_tile; row < layout.rows; row += step) {
      const int count = layout.rows_at(row) * layout.n;
      const int64_t begin = row * layout.n;
      Tile::load(block, values, x + begin, count);
      walsh(block, values, count, Tile::kLevels, layout.log_m);
      mix.template operator()<Tile::kColumns>(block, values, layout, count, false);
      replace_by_error(block, values, scratch, count);
      mix.template operator()<Tile::kColumns>(block, values, layout, count, true);
      walsh(block, values, count, Tile::kLevels, layout.log_m);
      // x is loaded again, out of the cache: keeping it would take the registers of another block.
      Tile::template unload<true>(block, values, count, [&](int i, const Pack<float, Tile::kWidth>& v) {
        store_point(numbers(load_pack<Tile::kWidth>(x + begin + i)), v, at(x_hat, begin + i),
                    at(error, begin + i));
      });
    }
  }

  /// v -> norm (Q(norm v) - norm v), group by group: the error, scaled for the way back.
  template <class Block, class Values, class Scratch>
  SPQ_BLOCK void replace_by_error(Block& block, const Values& values, const Scratch& scratch,
                                  int count) const {
    typename Block::template PerThread<Extremes> extremes(block);
    const int groups = count / length;
    for (int first = 0; first < groups; first += block.threads() / team) {
      block.for_threads([&](int t) {
        extremes[t] = Extremes::identity();
        const int begin = (first + t / team) * length;
        if (begin >= count) return;
        for (int i = begin + t % team; i < begin + length; i += team) extremes[t].add(values.get(slot(i)));
      });
      block.template reduce<Extremes>(extremes, team, scratch);
      block.for_threads([&](int t) {
        const int begin = (first + t / team) * length;
        if (begin >= count) return;
        const MinMax<float> m = extremes[t].numbers();
        const float norm = layout.norm;
        with_quantizer(range_between(MinMax<float>{m.min * norm, m.max * norm}, spec),
                       [&](const auto& quantizer) {
                         for (int i = begin + t % team; i < begin + length; i += team) {
                           const float v = values.get(slot(i)) * norm;
                           values.set(slot(i), norm * (quantizer(v) - v));
                         }
                       });
      });
    }
  }
};

/// Calls body.template operator()<values an item, mix>(mix) for a plan: eight at a time where memory and the
/// power-of-two part allow it.
template <class Body>
LaunchResult with_mix(const HadamardPlan& plan, bool eight, const Body& body) {
  const int order = static_cast<int>(plan.factor);
  if (eight) {
    if (order == 1) return body.template operator()<8>(NoMix{});
    if (order == 28) return body.template operator()<8>(Mix28{});
    return body.template operator()<8>(FactorMix{factor_signs(order)});
  }
  if (order == 1) return body.template operator()<1>(NoMix{});
  return body.template operator()<1>(FactorMix{factor_signs(order)});
}

inline bool eight_at_a_time(const HadamardPlan& plan, bool pointers_aligned) {
  return pointers_aligned && plan.block / plan.factor % 8 == 0;
}

template <class T, class Launcher>
LaunchResult launch_hadamard(const Launcher& launch, const T* x, T* y, int64_t rows, const HadamardPlan& plan,
                             HadamardDirection direction) {
  if (rows == 0) return {};
  const bool inverse = direction == HadamardDirection::kInverse;
  return with_mix(plan, eight_at_a_time(plan, aligned(x, y)), [&]<int kItem, class Mix>(const Mix& mix) {
    return launch(HadamardKernel<T, kItem, Mix>{hadamard_shape(rows, plan, kItem), x, y, inverse, mix});
  });
}

/// Threads for a group: the block for a tile of one, otherwise a part of a warp.
inline int hadamard_team(const HadamardShape& shape, int length) {
  const int groups = shape.rows_per_tile * shape.n / length;
  if (groups == 1) return shape.threads;
  int team = kWarp;
  while (team > 8 && team * groups > shape.threads) team /= 2;
  return team;
}

template <class T, class Launcher>
LaunchResult launch_hadamard_quant(const Launcher& launch, const T* x, T* x_hat, T* error, int64_t rows,
                                   const HadamardPlan& plan, const QuantSpec& spec) {
  if (rows == 0 || (!x_hat && !error)) return {};
  const bool eight = eight_at_a_time(plan, aligned(x, x_hat, error));
  return with_mix(plan, eight, [&]<int kItem, class Mix>(const Mix& mix) {
    const HadamardShape shape = hadamard_shape(rows, plan, kItem);
    const auto length = static_cast<int>(group_length(plan.n, spec));
    return launch(HadamardQuantKernel<T, kItem, Mix>{shape, length, hadamard_team(shape, length), x, x_hat,
                                                     error, spec, mix});
  });
}

}  // namespace spq::kernels::blocks
