#include "kernels/hadamard_point.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>

#include "kernels/aligned.h"
#include "kernels/bfloat16.h"
#include "kernels/hadamard_mix.h"
#include "kernels/hadamard_mix28.h"
#include "kernels/hadamard_segment.h"
#include "kernels/lanes.h"
#include "kernels/quant_row.h"

namespace spq::kernels {
namespace {

constexpr int64_t kLine = 16;      // floats of a cache line
constexpr int64_t kAtOnce = 2048;  // values that are worked on at once, if a block is shorter
constexpr int64_t kMostBlocks = kAtOnce / 64;

// Extremes of values seen vector by vector. NaNs are skipped: a block that has one is all NaN or infinite.
template <Isa kIsa>
class Extremes {
  using V = typename Lanes<kIsa, float>::Vector;
  static constexpr int kChains = 4;  // a comparison takes some cycles

 public:
  Extremes() {
    for (int k = 0; k < kChains; ++k) {
      low_[k] = V{} + std::numeric_limits<float>::infinity();
      high_[k] = V{} - std::numeric_limits<float>::infinity();
    }
  }

  // `count` vectors, a multiple of 4, at v, v + stride, ...
  void see(const float* v, int64_t stride, int64_t count) {
    for (int64_t i = 0; i < count; i += kChains) {
#pragma GCC unroll 4
      for (int k = 0; k < kChains; ++k) {
        V values;
        load_lanes(values, v + (i + k) * stride);
        extend_extremes(low_[k], high_[k], values);
      }
    }
  }

  MinMax<float> over_all() {
    for (int k = 1; k < kChains; ++k) {
      low_[0] = low_[k] < low_[0] ? low_[k] : low_[0];
      high_[0] = high_[k] > high_[0] ? high_[k] : high_[0];
    }
    join_lanes<Lanes<kIsa, float>::kCount / 2>(low_[0], high_[0], typename Lanes<kIsa, float>::Indices());
    return {low_[0][0], high_[0][0]};
  }

 private:
  V low_[kChains];
  V high_[kChains];
};

// Blocks of factor * m values. One per thread.
template <class T>
class Point {
 public:
  Point(const HadamardPlan& plan, const QuantSpec& spec)
      : factor_(plan.factor),
        m_(plan.block / plan.factor),
        // Rows of a column a cache line more than a power of two apart lie in different sets of the cache.
        stride_(plan.factor == 1 ? m_ : m_ + kLine),
        at_once_(factor_ == 1 ? std::clamp<int64_t>(kAtOnce / m_, 1, kMostBlocks) : 1),
        norm_(static_cast<float>(1.0 / std::sqrt(static_cast<double>(plan.block)))),
        spec_(spec),
        mix_(plan.factor == Factor28::kOrder ? 1 : plan.factor),
        values_(static_cast<size_t>(at_once_ * factor_ * stride_)),
        tile_(static_cast<size_t>(factor_ * kLine)) {}

  template <Isa kIsa>
  void run(const T* x, T* x_hat, T* error, int64_t blocks) {
    const int64_t n = factor_ * m_;
    for (int64_t b = 0; b < blocks; b += at_once_) {
      const int64_t first = b * n;
      const int64_t count = std::min(at_once_, blocks - b);
      next_ = blocks - b >= 2 * at_once_ ? x + first + at_once_ * n : nullptr;
      forward<kIsa>(x + first, count);
      if (factor_ == 1) {
        error_of_segments<kIsa>(count);
      } else {
        error_of_columns<kIsa>();
      }
      inverse<kIsa>(x + first, at(x_hat, first), at(error, first), count);
    }
  }

 private:
  template <Isa kIsa>
  void forward(const T* x, int64_t blocks) {
    for (int64_t i = 0; i < blocks * factor_; ++i) {
      look_ahead(m_ / 4);
      SegmentWalsh<kIsa, T>::forward(x + i * m_, values_.data() + i * stride_, m_);
    }
  }

  template <Isa kIsa>
  void inverse(const T* x, T* x_hat, T* error, int64_t blocks) {
    for_outputs(x_hat, error, [&]<bool kHat, bool kError>() {
      for (int64_t i = 0; i < blocks * factor_; ++i) {
        const int64_t first = i * m_;
        look_ahead(m_ / 4);
        SegmentWalsh<kIsa, T>::template inverse<kHat, kError>(values_.data() + i * stride_, x + first,
                                                              at(x_hat, first), at(error, first), m_);
      }
    });
  }

  // Step by step over some blocks: each step of one block is a chain of instructions that wait for another.
  template <Isa kIsa>
  void error_of_segments(int64_t blocks) {
    constexpr int64_t kWidth = Lanes<kIsa, float>::kCount;
    float* v = values_.data();
    MinMax<float> extremes[kMostBlocks];
    for (int64_t b = 0; b < blocks; ++b) {
      Extremes<kIsa> seen;
      seen.see(v + b * m_, kWidth, m_ / kWidth);
      extremes[b] = seen.over_all();
    }
    QuantRange<float> ranges[kMostBlocks];
    find_ranges_between(extremes, Times<float>{norm_}, blocks, spec_, ranges);
    for (int64_t b = 0; b < blocks; ++b) {
      look_ahead(m_ / 2);
      error_behind_transform(v + b * m_, m_, v + b * m_, 1, m_, norm_, ranges[b]);
    }
  }

  // Both products with the factor, and the quantization between them, tile by tile of columns.
  template <Isa kIsa>
  void error_of_columns() {
    constexpr int64_t kWidth = Lanes<kIsa, float>::kCount;
    Extremes<kIsa> extremes;
    float* v = values_.data();
    for (int64_t t = 0; t < m_; t += kWidth) {
      look_ahead(factor_ * kWidth / 4);
      mix<kIsa>(v + t, stride_, v + t, HadamardDirection::kForward);
      extremes.see(v + t, stride_, factor_);
    }
    const MinMax<float> found = extremes.over_all();
    QuantRange<float> range;
    find_ranges_between(&found, Times<float>{norm_}, 1, spec_, &range);
    float* tile = tile_.data();
    for (int64_t t = m_ - kWidth; t >= 0; t -= kWidth) {  // backwards: the last tiles are still in the cache
      look_ahead(factor_ * kWidth / 4);
      error_behind_transform(v + t, stride_, tile, factor_, kWidth, norm_, range);
      mix<kIsa>(tile, kWidth, v + t, HadamardDirection::kInverse);
    }
  }

  template <Isa kIsa>
  void mix(const float* in, int64_t in_stride, float* out, HadamardDirection direction) {
    constexpr int64_t kWidth = Lanes<kIsa, float>::kCount;
    if (factor_ == Factor28::kOrder) {
      Factor28::mix<kIsa>(in, in_stride, out, stride_);
    } else {
      mix_.mix(in, in_stride, out, stride_, direction, std::integral_constant<int64_t, kWidth>());
    }
  }

  // Asks for `count` more values of the blocks that come next: all of them, little by little, while these are
  // worked on.
  void look_ahead(int64_t count) {
    constexpr int64_t kValues = 64 / static_cast<int64_t>(sizeof(T));
    if (!next_) return;
    for (int64_t i = 0; i < count; i += kValues) __builtin_prefetch(next_ + i, 0, 2);
    next_ += count;
  }

  int64_t factor_;
  int64_t m_;
  int64_t stride_;
  int64_t at_once_;  // blocks
  float norm_;
  QuantSpec spec_;
  FactorMix<float> mix_;
  Scratch<float> values_;
  Scratch<float> tile_;
  const T* next_ = nullptr;
};

}  // namespace

bool is_fast_point(const HadamardPlan& plan, const QuantSpec& spec) {
  return group_length(plan.n, spec) == plan.block &&
         plan.block / plan.factor >= SegmentWalsh<Isa::kBaseline, float>::kShortest;
}

template <class T>
void hadamard_point_rows(Isa isa, const T* x, T* x_hat, T* error, int64_t rows, const HadamardPlan& plan,
                         const QuantSpec& spec) {
  Point<T> point(plan, spec);
  const int64_t blocks = rows * (plan.n / plan.block);
  run_at(isa, [&](auto level) { point.template run<level()>(x, x_hat, error, blocks); });
}

template void hadamard_point_rows<float>(Isa, const float*, float*, float*, int64_t, const HadamardPlan&,
                                         const QuantSpec&);
template void hadamard_point_rows<bfloat16>(Isa, const bfloat16*, bfloat16*, bfloat16*, int64_t,
                                            const HadamardPlan&, const QuantSpec&);

}  // namespace spq::kernels
