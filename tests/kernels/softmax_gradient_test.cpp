#include "kernels/softmax_gradient.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace spq::kernels {
namespace {

constexpr double kRounding = 1.0 / 256;  // of a bf16 number

std::vector<float> wave(int64_t n, double frequency, double size) {
  std::vector<float> v(static_cast<size_t>(n));
  for (size_t i = 0; i < v.size(); ++i) v[i] = static_cast<float>(std::sin(frequency * double(i)) * size);
  return v;
}

double wide(bfloat16 v) {
  return static_cast<double>(static_cast<float>(v));
}

// Tiles before, on and after the diagonal, one row or three for each key.
TEST(SoftmaxGradient, IsTheFormulaUpToTheDiagonalAndZeroBeyond) {
  constexpr int64_t kTestRows = 9;
  for (int64_t keys : {1, 16, 67}) {
    for (int64_t visible : {-4, 0, 1, 30, 100}) {
      for (int64_t rows_per_key : {1, 3}) {
        const auto scores = wave(kTestRows * keys, 0.7, 40), gradients = wave(kTestRows * keys, 1.3, 3);
        const auto logsumexp = wave(kTestRows, 0.4, 5), delta = wave(kTestRows, 0.9, 1);
        std::vector<bfloat16> p(scores.size(), bfloat16(7.0f)), ds = p;
        softmax_gradient({scores.data(), gradients.data(), kTestRows, keys, visible, rows_per_key},
                         {logsumexp.data(), delta.data(), 0.125f}, p.data(), ds.data());
        for (int64_t i = 0; i < kTestRows * keys; ++i) {
          const auto at = static_cast<size_t>(i), row = static_cast<size_t>(i / keys);
          const bool seen = i % keys < visible + i / keys / rows_per_key;
          const double probability = seen ? std::exp(0.125 * scores[at] - logsumexp[row]) : 0;
          const double gradient = probability * (0.125 * gradients[at] - delta[row]);
          ASSERT_NEAR(wide(p[at]), probability, kRounding * probability) << i << " of " << keys;
          ASSERT_NEAR(wide(ds[at]), gradient, kRounding * std::abs(gradient)) << i << " of " << keys;
        }
      }
    }
  }
}

TEST(SoftmaxGradient, KeepsNaNsAndLosesTheNegligible) {
  const float nan = std::numeric_limits<float>::quiet_NaN(),
              infinity = std::numeric_limits<float>::infinity();
  const std::vector<float> scores = {nan, -1e30f, -infinity, 0.0f, 0.0f}, gradients = {1, 1, 1, 1, nan};
  const float logsumexp = 0, delta = 0;
  std::vector<bfloat16> p(5), ds(5);
  softmax_gradient({scores.data(), gradients.data(), 1, 5, 5, 1}, {&logsumexp, &delta, 1.0f}, p.data(),
                   ds.data());
  EXPECT_TRUE(std::isnan(wide(p[0])) && std::isnan(wide(ds[0])) && std::isnan(wide(ds[4])));
  for (size_t i : {1, 2}) EXPECT_TRUE(wide(p[i]) == 0 && wide(ds[i]) == 0);
  for (size_t i : {3, 4}) EXPECT_EQ(wide(p[i]), 1);
  EXPECT_EQ(wide(ds[3]), 1);
}

TEST(DotRows, MultipliesRowByRow) {
  const std::vector<bfloat16> a = {bfloat16(1), bfloat16(2), bfloat16(3),
                                   bfloat16(4), bfloat16(5), bfloat16(6)};
  std::vector<float> out(2);
  dot_rows(a.data(), a.data(), out.data(), 2, 3, 0.5f);
  EXPECT_EQ(out, (std::vector<float>{7, 38.5f}));
}

TEST(NarrowSum, AddsPartsInOrderAndRoundsOnce) {
  std::vector<float> x = {1, 2, 0x1p-9f, 3, 0x1p-9f, 4};  // three parts of two numbers
  std::vector<bfloat16> out(2);
  narrow_sum(x.data(), 3, 2, out.data(), 2);
  EXPECT_EQ(wide(out[0]), 1);  // 1 + 2^-8 is half way between neighbours
  EXPECT_EQ(wide(out[1]), 9);
  x = {1, 2, 0x1p-9f, 3, 0x1.8p-9f, 4};
  narrow_sum(x.data(), 3, 2, out.data(), 2);
  EXPECT_EQ(wide(out[0]), 1 + 0x1p-7);  // neither part alone would change it
  narrow_sum(x.data(), 1, 2, out.data(), 1);
  EXPECT_EQ(wide(out[0]), 1 + 0x1p-7);
}

}  // namespace
}  // namespace spq::kernels
