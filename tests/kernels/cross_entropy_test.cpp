#include "kernels/cross_entropy.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "tests/kernels/values.h"

namespace spq::kernels {
namespace {

using test::noise;
using test::number;

struct Expected {
  double loss;
  std::vector<double> softmax;
};

template <class T>
Expected definition(const T* x, int64_t vocab, int64_t target) {
  double top = number(x[0]), sum = 0;
  for (int64_t i = 0; i < vocab; ++i) top = std::max(top, number(x[i]));
  Expected e;
  for (int64_t i = 0; i < vocab; ++i) sum += std::exp(number(x[i]) - top);
  for (int64_t i = 0; i < vocab; ++i) e.softmax.push_back(std::exp(number(x[i]) - top) / sum);
  e.loss = std::log(sum) + top - number(x[target]);
  return e;
}

template <class T>
void expect_definition(int64_t vocab, double tolerance) {
  constexpr double kScale = 0.125;
  const std::vector<T> logits = noise<T>(3 * vocab, static_cast<uint64_t>(vocab));
  const std::vector<int64_t> targets = {0, vocab / 2, vocab - 1};
  std::vector<T> grad = logits;
  std::vector<double> losses(3);
  cross_entropy_rows(grad.data(), targets.data(), losses.data(), 3, vocab, kScale);
  for (size_t r = 0; r < 3; ++r) {
    const size_t begin = r * static_cast<size_t>(vocab);
    const Expected e = definition(logits.data() + begin, vocab, targets[r]);
    EXPECT_NEAR(losses[r], e.loss, 1e-6 * std::max(1.0, e.loss)) << vocab;
    for (int64_t i = 0; i < vocab; ++i) {
      const double p = e.softmax[static_cast<size_t>(i)];
      const double expected = kScale * (p - (i == targets[r] ? 1 : 0));
      ASSERT_NEAR(number(grad[begin + static_cast<size_t>(i)]), expected,
                  tolerance * std::abs(expected) + 1e-7 * kScale)
          << "vocab " << vocab << " row " << r << " column " << i;
    }
  }
}

TEST(CrossEntropyRows, LossAndGradientEqualTheDefinitionInDouble) {
  for (int64_t vocab : {1, 2, 31, 33, 1000, 32003}) {
    expect_definition<double>(vocab, 1e-12);
    expect_definition<float>(vocab, 2e-6);
    expect_definition<bfloat16>(vocab, 4e-3);
  }
}

TEST(CrossEntropyRows, LeavesTheLogitsAloneWithoutAGradient) {
  const std::vector<float> logits = noise<float>(70, 1);
  std::vector<float> kept = logits;
  const int64_t target = 69;
  double loss = 0;
  cross_entropy_rows(kept.data(), &target, &loss, 1, 70, 0);
  EXPECT_TRUE(test::same_bits(kept, logits));
  EXPECT_NEAR(loss, definition(logits.data(), 70, target).loss, 1e-6);
}

TEST(CrossEntropyRows, LargeLogitsDoNotOverflow) {
  std::vector<float> logits(100, 30000.0f);
  logits[7] = -30000.0f;
  const int64_t target = 3;
  double loss = 0;
  cross_entropy_rows(logits.data(), &target, &loss, 1, 100, 1.0);
  EXPECT_NEAR(loss, std::log(99.0), 1e-6);
  EXPECT_EQ(logits[7], 0.0f);
}

TEST(CrossEntropyRows, NanAndInfinityMakeTheLossNan) {
  for (float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    for (size_t place : {0, 50, 98}) {
      std::vector<float> logits = noise<float>(99, 2);
      logits[place] = bad;
      const int64_t target = 4;
      double loss = 0;
      cross_entropy_rows(logits.data(), &target, &loss, 1, 99, 1.0);
      EXPECT_TRUE(std::isnan(loss)) << place;
    }
  }
}

}  // namespace
}  // namespace spq::kernels
