// RMSNorm and RoPE rows against their definitions in double.
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "kernels/bfloat16.h"
#include "kernels/rms_norm.h"
#include "kernels/rope.h"
#include "tests/kernels/values.h"

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

template <class T>
void expect_norm_gradient(int64_t cols, double tolerance) {
  const std::vector<T> x = test::noise<T>(cols, 1), dy = test::noise<T>(cols, 2),
                       start = test::noise<T>(cols, 3);
  std::vector<T> dx = start;
  rms_norm_backward_add(x.data(), dy.data(), dx.data(), 1, cols, 1e-5);
  double squares = 0, product = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    squares += test::number(x[i]) * test::number(x[i]);
    product += test::number(x[i]) * test::number(dy[i]);
  }
  const double r = 1 / std::sqrt(squares / double(cols) + 1e-5);
  for (size_t i = 0; i < x.size(); ++i) {
    const double g = r * test::number(dy[i]) - r * r * r * product / double(cols) * test::number(x[i]);
    const double expected = test::number(start[i]) + g;
    const double size = std::abs(test::number(start[i])) + std::abs(g);
    ASSERT_NEAR(test::number(dx[i]), expected, tolerance * size + 1e-7) << cols << " at " << i;
  }
}

TEST(RmsNorm, GradientInFp32AndBf16EqualsTheFormulaInDouble) {
  for (int64_t cols : {1, 31, 33, 4099}) {
    expect_norm_gradient<double>(cols, 1e-12);
    expect_norm_gradient<float>(cols, 2e-5);
    expect_norm_gradient<bfloat16>(cols, 4e-3);
  }
}

template <class T, class A>
void expect_rope(int64_t head_dim) {
  const int64_t half = head_dim / 2;
  const std::vector<A> angle = test::noise<A>(2 * half, 4);  // two tokens
  std::vector<A> cos, sin;
  for (A a : angle) {
    cos.push_back(std::cos(a));
    sin.push_back(std::sin(a));
  }
  const std::vector<T> x = test::noise<T>(2 * 3 * head_dim, 5);
  std::vector<T> y = x;
  rope_rows(y.data(), cos.data(), sin.data(), 2, 3, head_dim, RopeDirection::kInverse);
  for (int64_t row = 0; row < 6; ++row) {
    for (int64_t j = 0; j < half; ++j) {
      const auto a = static_cast<size_t>(row * head_dim + j), b = a + static_cast<size_t>(half);
      const double c = double(cos[static_cast<size_t>(row / 3 * half + j)]);
      const double s = -double(sin[static_cast<size_t>(row / 3 * half + j)]);
      const double u = test::number(x[a]), v = test::number(x[b]);
      const double size = 2 * (std::abs(u) + std::abs(v));
      ASSERT_NEAR(test::number(y[a]), u * c - v * s, test::rounding<T>(size));
      ASSERT_NEAR(test::number(y[b]), v * c + u * s, test::rounding<T>(size));
    }
  }
}

TEST(RopeRows, EqualTheDefinitionInEveryTypeAtAwkwardHeadSizes) {
  for (int64_t head_dim : {2, 6, 64, 66, 128}) {
    expect_rope<double, double>(head_dim);
    expect_rope<float, float>(head_dim);
    expect_rope<bfloat16, float>(head_dim);
  }
}

}  // namespace
}  // namespace spq::kernels
