// RMSNorm and the quantization of its result, with one scale or several for each row.
#pragma once

#include "kernels/blocks/norm_kernel.h"

namespace spq::kernels::blocks {

/// With several groups in a row: the block finds the row's root mean square, then each team quantizes whole
/// groups, which come out of the cache this time.
template <class T, int kWidth>
struct RmsNormGroupsKernel {
  static constexpr int kMaxThreads = kLargestBlock;
  int64_t rows, cols, length;
  int threads, team;  // team: for a group
  const T* x;
  T* x_hat;
  T* error;
  float eps;
  QuantSpec spec;

  LaunchShape shape() const { return {threads, rows, shared_size<RowSums>(reduce_scratch(threads))}; }

  template <class Block>
  SPQ_BLOCK void operator()(Block& block) const {
    typename Block::template PerThread<RowSums> sums(block);
    typename Block::template PerThread<Extremes> extremes(block);
    const auto scratch = block.template shared<RowSums>(reduce_scratch(threads));
    const int64_t groups = cols / length;
    for (int64_t row = block.index(); row < rows; row += block.count()) {
      const T* values = x + row * cols;
      block.for_threads_apart([&](int t) {
        sums[t] = RowSums::identity();
        for_packs<kWidth, 0>(t, threads, cols, [&](int, int64_t i) {
          const Pack<float, kWidth> v = numbers(load_pack<kWidth>(values + i));
          SPQ_UNROLL
          for (int k = 0; k < kWidth; ++k) sums[t].squares += v.v[k] * v.v[k];
        });
      });
      block.template reduce<RowSums>(sums, threads, scratch);
      for (int64_t first = 0; first < groups; first += threads / team) {
        block.for_threads_apart([&](int t) {
          extremes[t] = Extremes::identity();
          const int64_t group = first + t / team;
          if (group >= groups) return;
          for_packs<kWidth, 0>(t % team, team, length, [&](int, int64_t i) {
            const Pack<float, kWidth> v = numbers(load_pack<kWidth>(values + group * length + i));
            SPQ_UNROLL
            for (int k = 0; k < kWidth; ++k) extremes[t].add(v.v[k]);
          });
        });
        block.template reduce<Extremes>(extremes, team);
        block.for_threads_apart([&](int t) {
          const int64_t group = first + t / team;
          if (group < groups) write(extremes[t], sums[t].squares, t % team, row * cols + group * length);
        });
      }
    }
  }

  SPQ_BLOCK void write(const Extremes& extremes, float squares, int lane, int64_t begin) const {
    const float r = inverse_rms(squares, cols, eps);
    with_quantizer(normed_range<T>(extremes, r, spec), [&](const auto& quantizer) {
      for_packs<kWidth, 0>(lane, team, length, [&](int, int64_t i) {
        quantize_pack<kWidth>(normed(load_pack<kWidth>(x + begin + i), r), quantizer, at(x_hat, begin + i),
                              at(error, begin + i));
      });
    });
  }
};

template <class T, class Launcher>
LaunchResult launch_rms_norm_quant(const Launcher& launch, const T* x, T* x_hat, T* error, int64_t rows,
                                   int64_t cols, double eps, const QuantSpec& spec) {
  if (rows * cols == 0 || (!x_hat && !error)) return {};
  const int64_t length = group_length(cols, spec);
  if (length == cols) return launch_norm<T, true>(launch, x, x_hat, error, rows, cols, eps, spec);
  const auto e = static_cast<float>(eps);
  constexpr int kWide = blocks::kWide<T>;
  const bool wide = aligned(x, x_hat, error) && length % kWide == 0;
  const int64_t width = wide ? kWide : 1;
  const UnitLayout group = unit_layout(length, 1, ceil_div(length / width, 2), 0);
  const int team = group.team < kWarp ? group.team : kWarp;
  constexpr int kBlock = 512;
  const int64_t lanes = ceil_div(cols / width, kWarp) * kWarp;
  const int threads = static_cast<int>(lanes < kBlock ? lanes : kBlock);
  if (!wide)
    return launch(RmsNormGroupsKernel<T, 1>{rows, cols, length, threads, team, x, x_hat, error, e, spec});
  return launch(RmsNormGroupsKernel<T, kWide>{rows, cols, length, threads, team, x, x_hat, error, e, spec});
}

}  // namespace spq::kernels::blocks
