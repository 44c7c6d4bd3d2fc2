// RMSNorm and RoPE rows against their definitions in double.
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "kernels/bfloat16.h"
#include "kernels/rms_norm.h"
#include "kernels/rope.h"

namespace spq::kernels {
namespace {

std::vector<double> wave(int64_t n, double frequency) {
  std::vector<double> v(static_cast<size_t>(n));
  for (size_t i = 0; i < v.size(); ++i) v[i] = std::sin(frequency * double(i) + 0.3) * 2.0;
  return v;
}

double norm_at(const std::vector<double>& x, size_t i, double eps) {
  double mean = 0;
  for (double v : x) mean += v * v;
  return x[i] / std::sqrt(mean / double(x.size()) + eps);
}

TEST(RmsNorm, EqualsTheDefinitionAtAwkwardLengths) {
  for (int64_t cols : {1, 5, 16, 33, 4096, 8191}) {
    const std::vector<double> x = wave(cols, 0.7);
    std::vector<double> y(x.size());
    rms_norm(x.data(), y.data(), 1, cols, 1e-5);
    std::vector<float> xf(x.begin(), x.end()), yf(x.size());
    rms_norm(xf.data(), yf.data(), 1, cols, 1e-5);
    for (size_t i = 0; i < x.size(); ++i) {
      ASSERT_NEAR(y[i], norm_at(x, i, 1e-5), 1e-14) << cols;
      ASSERT_NEAR(yf[i], y[i], 2e-6) << cols;
    }
  }
}

TEST(RmsNorm, GradientEqualsCentralDifferencesAndIsAdded) {
  const int64_t cols = 19;
  const std::vector<double> x = wave(cols, 0.7), dy = wave(cols, 1.9);
  std::vector<double> dx(x.size(), 0.25);
  rms_norm_backward_add(x.data(), dy.data(), dx.data(), 1, cols, 1e-5);
  for (size_t i = 0; i < x.size(); ++i) {
    const double h = 1e-5;
    std::vector<double> up = x, down = x;
    up[i] += h;
    down[i] -= h;
    double slope = 0;
    for (size_t j = 0; j < x.size(); ++j)
      slope += dy[j] * (norm_at(up, j, 1e-5) - norm_at(down, j, 1e-5)) / (2 * h);
    EXPECT_NEAR(dx[i], 0.25 + slope, 1e-9);
  }
}

TEST(RopeRows, PairsDimensionJWithJPlusHalfAndInverseUndoesIt) {
  const std::vector<double> angle = {0.3, 1.1, -0.4};  // head_dim 6
  std::vector<double> cos, sin;
  for (double a : angle) {
    cos.push_back(std::cos(a));
    sin.push_back(std::sin(a));
  }
  const std::vector<double> x = wave(12, 1.3);  // one token, two heads
  std::vector<double> y = x;
  rope_rows(y.data(), cos.data(), sin.data(), 1, 2, 6, RopeDirection::kForward);
  for (size_t h = 0; h < 2; ++h) {
    for (size_t j = 0; j < 3; ++j) {
      const double a = x[h * 6 + j], b = x[h * 6 + j + 3];
      EXPECT_NEAR(y[h * 6 + j], a * cos[j] - b * sin[j], 1e-15);
      EXPECT_NEAR(y[h * 6 + j + 3], b * cos[j] + a * sin[j], 1e-15);
    }
  }
  rope_rows(y.data(), cos.data(), sin.data(), 1, 2, 6, RopeDirection::kInverse);
  for (size_t i = 0; i < x.size(); ++i) EXPECT_NEAR(y[i], x[i], 1e-14);
}

}  // namespace
}  // namespace spq::kernels
