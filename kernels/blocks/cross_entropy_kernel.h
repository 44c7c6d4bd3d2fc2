// Softmax cross entropy of long rows, a block for a row: one pass finds the largest logit and the sum of
// exponentials, a second one writes the gradient.
#pragma once

#include <cmath>
#include <limits>

#include "kernels/blocks/launch.h"
#include "kernels/blocks/rows.h"
#include "kernels/exponential.h"

namespace spq::kernels::blocks {

struct LargestLogit {
  int32_t order;  // ordered() of it, so that a NaN is the largest

  SPQ_BLOCK static LargestLogit identity() { return {static_cast<int32_t>(0x80000000u)}; }
  SPQ_BLOCK static LargestLogit join(LargestLogit a, LargestLogit b) { return a.order > b.order ? a : b; }
};

struct ExpSum {
  double sum;

  SPQ_BLOCK static ExpSum identity() { return {0.0}; }
  SPQ_BLOCK static ExpSum join(ExpSum a, ExpSum b) { return {a.sum + b.sum}; }
};

template <class T, int kWidth>
struct CrossEntropyKernel {
  static constexpr int kMaxThreads = 512;
  T* logits;
  const int64_t* targets;
  double* losses;
  int64_t rows, vocab;
  double grad_scale;

  int threads() const {
    const int64_t packs = ceil_div(vocab / kWidth, kWarp) * kWarp;
    return static_cast<int>(packs < kMaxThreads ? packs : kMaxThreads);
  }
  LaunchShape shape() const {
    return {threads(), rows,
            shared_size<LargestLogit>(reduce_scratch(threads())) +
                shared_size<ExpSum>(reduce_scratch(threads()))};
  }

  template <class Block>
  SPQ_BLOCK void operator()(Block& block) const {
    typename Block::template PerThread<LargestLogit> own(block), top(block);
    typename Block::template PerThread<ExpSum> sum(block);
    const int team = block.threads();
    const auto top_scratch = block.template shared<LargestLogit>(reduce_scratch(team));
    const auto sum_scratch = block.template shared<ExpSum>(reduce_scratch(team));
    for (int64_t row = block.index(); row < rows; row += block.count()) {
      T* x = logits + row * vocab;
      const int64_t target = targets[row];
      block.for_threads_apart([&](int t) {
        sum_exponentials(x, t, team, own[t], sum[t]);
        top[t] = own[t];
      });
      block.template reduce<LargestLogit>(top, team, top_scratch);
      block.for_threads_apart(
          [&](int t) { sum[t].sum *= static_cast<double>(row_exp(value(own[t]) - value(top[t]))); });
      block.template reduce<ExpSum>(sum, team, sum_scratch);
      block.for_threads(
          [&](int t) {  // the barrier: the target's logit is read before its thread overwrites it
            if (t == 0) losses[row] = loss(sum[t].sum, value(top[t]), number(x[target]));
          });
      if (grad_scale == 0) continue;
      block.for_threads_apart([&](int t) { write_gradient(x, target, t, team, value(top[t]), sum[t].sum); });
    }
  }

 private:
  SPQ_BLOCK static float value(LargestLogit logit) {
    return std::bit_cast<float>(ordered(std::bit_cast<uint32_t>(logit.order)));
  }

  // A row of -infinity has no exponential above 0, and NaN as its loss.
  SPQ_BLOCK static double loss(double sum, float top, float at_target) {
    if (sum == 0) return std::numeric_limits<double>::quiet_NaN();
    return std::log(sum) + static_cast<double>(top) - static_cast<double>(at_target);
  }

  // The lane's largest logit so far, and the sum of e^(x - largest): scaled again whenever a larger one
  // comes. Starts from the lowest finite number, so that a logit of -infinity adds 0.
  SPQ_BLOCK void sum_exponentials(const T* x, int lane, int team, LargestLogit& largest, ExpSum& sum) const {
    float top = std::numeric_limits<float>::lowest();
    double total = 0;
    for_packs<kWidth, 0>(lane, team, vocab, [&](int, int64_t i) {
      const Pack<T, kWidth> pack = load_pack<kWidth>(x + i);
      LargestLogit high{ordered(std::bit_cast<uint32_t>(top))};
      SPQ_UNROLL
      for (int k = 0; k < kWidth; ++k) {
        high = LargestLogit::join(high, {ordered(std::bit_cast<uint32_t>(number(pack.v[k])))});
      }
      const float raised = value(high);
      total *= static_cast<double>(row_exp(top - raised));
      top = raised;
      float part = 0;  // added in double: the vocabulary is long
      SPQ_UNROLL
      for (int k = 0; k < kWidth; ++k) part += row_exp(number(pack.v[k]) - top);
      total += static_cast<double>(part);
    });
    largest = {ordered(std::bit_cast<uint32_t>(top))};
    sum = {total};
  }

  SPQ_BLOCK void write_gradient(T* x, int64_t target, int lane, int team, float top, double sum) const {
    const auto factor = static_cast<float>(grad_scale / sum);
    for_packs<kWidth, 0>(lane, team, vocab, [&](int, int64_t i) {
      Pack<T, kWidth> pack = load_pack<kWidth>(x + i);
      SPQ_UNROLL
      for (int k = 0; k < kWidth; ++k) {
        const float hit = i + k == target ? static_cast<float>(grad_scale) : 0.0f;
        pack.v[k] = to_storage<T>(row_exp(number(pack.v[k]) - top) * factor - hit);
      }
      store_pack(x + i, pack);
    });
  }
};

template <class T, class Launcher>
LaunchResult launch_cross_entropy(const Launcher& launch, T* logits, const int64_t* targets, double* losses,
                                  int64_t rows, int64_t vocab, double grad_scale) {
  if (rows == 0) return {};
  constexpr int kWide = blocks::kWide<T>;
  if (!aligned(logits) || vocab % kWide != 0) {
    return launch(CrossEntropyKernel<T, 1>{logits, targets, losses, rows, vocab, grad_scale});
  }
  return launch(CrossEntropyKernel<T, kWide>{logits, targets, losses, rows, vocab, grad_scale});
}

}  // namespace spq::kernels::blocks
