// The fast path of hadamard_quant_rows against the definition in double, and on every level of x86-64.
#include "kernels/hadamard_point.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/fake_quant.h"
#include "kernels/hadamard.h"
#include "kernels/hadamard_factors.h"
#include "tests/kernels/values.h"

namespace spq::kernels {
namespace {

using test::noise;
using test::number;
using test::same_bits;

const QuantSpec kSpec{4, false, -1, true, 1.0};

// One size of each kind: a segment of few vectors, of as many as fill the registers, of two and more such
// parts; the factor that is known to the compiler, and others; several blocks in a row.
const std::vector<int64_t> kSizes = {64,   128,  256,  512,  1024,  2048,  8192,      28 * 64, 28 * 128,
                                     3584, 7168, 9984, 5120, 11008, 14336, 12 * 1024, 40 * 64};

int sign(int64_t order, int64_t i, int64_t j) {
  for (const HadamardFactor& f : hadamard_factors()) {
    if (f.order == order) return f.sign(i, j);
  }
  return 1;
}

// y = H x or H^T x / sqrt(n) for one block, straight from the definition, but for the butterflies of S_m.
std::vector<double> transformed(std::vector<double> x, const HadamardPlan& plan, bool transpose) {
  const int64_t m = plan.block / plan.factor;
  std::vector<double> y(x.size());
  for (int64_t i = 0; i < plan.factor; ++i) {
    for (int64_t j = 0; j < plan.factor; ++j) {
      const double s = transpose ? sign(plan.factor, j, i) : sign(plan.factor, i, j);
      for (int64_t c = 0; c < m; ++c) y[size_t(i * m + c)] += s * x[size_t(j * m + c)];
    }
  }
  for (int64_t h = 1; h < m; h *= 2) {
    for (int64_t i = 0; i < plan.block; ++i) {
      if (i & h) continue;
      const double a = y[size_t(i)], b = y[size_t(i + h)];
      y[size_t(i)] = a + b;
      y[size_t(i + h)] = a - b;
    }
  }
  for (double& v : y) v /= std::sqrt(double(plan.block));
  return y;
}

// H^T (Q(H x) - H x). Values within `margin` codes of an edge between two may get either: `doubtful` counts
// them.
std::vector<double> point_error(const std::vector<double>& x, const HadamardPlan& plan, double margin,
                                int& doubtful, double& scale) {
  std::vector<double> y = transformed(x, plan, false);
  const QuantRange<double> r = find_range<double, double>(y.data(), plan.block, kSpec);
  for (double& v : y) {
    const double place = v / r.scale - std::floor(v / r.scale);
    doubtful += std::abs(place - 0.5) < margin ? 1 : 0;
    v = r.scale * (std::clamp(std::nearbyint(v / r.scale) + r.zero, r.code_min, r.code_max) - r.zero) - v;
  }
  scale = r.scale;
  return transformed(y, plan, true);
}

// Every value on its own where no code is in doubt; otherwise as a whole, by the codes that may differ.
template <class T>
void expect_definition(const std::vector<T>& x, const std::vector<T>& error, const HadamardPlan& plan) {
  for (size_t begin = 0; begin < x.size(); begin += size_t(plan.block)) {
    std::vector<double> block;
    for (size_t i = 0; i < size_t(plan.block); ++i) block.push_back(number(x[begin + i]));
    int doubtful = 0;
    double scale = 0, distance = 0;
    const std::vector<double> expected = point_error(block, plan, 2e-5, doubtful, scale);
    for (size_t i = 0; i < expected.size(); ++i) {
      const double difference = number(error[begin + i]) - expected[i];
      const double rounding = test::rounding<T>(expected[i]) + 2e-5 * scale;
      if (doubtful == 0) {
        ASSERT_LE(std::abs(difference), rounding) << plan.n << " at " << begin + i;
      }
      distance += std::pow(std::max(0.0, std::abs(difference) - rounding), 2);
    }
    ASSERT_LE(std::sqrt(distance), 1.01 * scale * std::sqrt(doubtful)) << plan.n;
  }
}

template <class T>
void expect_point(int64_t n, int64_t rows) {
  const HadamardPlan plan = plan_hadamard(n);
  ASSERT_TRUE(is_fast_point(plan, kSpec)) << n;
  const std::vector<T> x = noise<T>(rows * n, 21);
  std::vector<T> x_hat(x.size()), error(x.size()), hat_alone(x.size()), error_alone(x.size());
  hadamard_quant_rows(x.data(), x_hat.data(), error.data(), rows, plan, kSpec);
  expect_definition(x, error, plan);
  for (size_t i = 0; i < x.size(); ++i) {
    const T sum = static_cast<T>(static_cast<Accumulate<T>>(x[i]) + static_cast<Accumulate<T>>(error[i]));
    ASSERT_EQ(number(x_hat[i]), number(sum)) << n << " at " << i;
  }
  hadamard_quant_rows<T>(x.data(), hat_alone.data(), nullptr, rows, plan, kSpec);
  hadamard_quant_rows<T>(x.data(), nullptr, error_alone.data(), rows, plan, kSpec);
  EXPECT_TRUE(same_bits(hat_alone, x_hat)) << n;
  EXPECT_TRUE(same_bits(error_alone, error)) << n;
  std::vector<T> as_hat = x, as_error = x, hat(x.size()), neither = x;
  hadamard_quant_rows<T>(as_hat.data(), as_hat.data(), nullptr, rows, plan, kSpec);
  hadamard_quant_rows<T>(as_error.data(), hat.data(), as_error.data(), rows, plan, kSpec);
  hadamard_quant_rows<T>(neither.data(), nullptr, nullptr, rows, plan, kSpec);
  EXPECT_TRUE(same_bits(as_hat, x_hat)) << n;
  EXPECT_TRUE(same_bits(as_error, error) && same_bits(hat, x_hat)) << n;
  EXPECT_TRUE(same_bits(neither, x)) << n;
}

TEST(HadamardPoint, EqualsTheDefinitionInDoubleAtEverySize) {
  for (int64_t n : kSizes) {
    expect_point<float>(n, 3);
    expect_point<bfloat16>(n, 3);
  }
}

template <class T>
void expect_same_on_every_level(int64_t n, const QuantSpec& spec) {
  const HadamardPlan plan = plan_hadamard(n);
  const int64_t rows = std::max<int64_t>(2, 5000 / n);
  const std::vector<T> x = noise<T>(rows * n, 22);
  std::vector<T> baseline(x.size()), error(x.size());
  hadamard_point_rows<T>(Isa::kBaseline, x.data(), nullptr, baseline.data(), rows, plan, spec);
  for (Isa isa : {Isa::kAvx2, Isa::kAvx512}) {
    if (isa > best_isa()) continue;
    hadamard_point_rows<T>(isa, x.data(), nullptr, error.data(), rows, plan, spec);
    EXPECT_TRUE(same_bits(error, baseline)) << n << " level " << static_cast<int>(isa);
  }
  for (int64_t row = 0; row < rows; ++row) {  // one row at a time
    hadamard_quant_rows<T>(x.data() + row * n, nullptr, error.data() + row * n, 1, plan, spec);
  }
  EXPECT_TRUE(same_bits(error, baseline)) << n << " row by row";
}

TEST(HadamardPoint, GivesTheSameBitsOnEveryLevelAndHoweverRowsAreSplit) {
  for (int64_t n : kSizes) {
    for (const QuantSpec& spec : {kSpec, QuantSpec{8, true, -1, true, 0.9}}) {
      expect_same_on_every_level<float>(n, spec);
      expect_same_on_every_level<bfloat16>(n, spec);
    }
  }
}

template <class T>
void expect_nan(int64_t n, float bad) {
  std::vector<T> x = noise<T>(5 * n, 23), x_hat(x.size()), error(x.size());
  x[size_t(3 * n + 7)] = static_cast<T>(bad);
  hadamard_quant_rows(x.data(), x_hat.data(), error.data(), 5, plan_hadamard(n), kSpec);
  for (size_t i = 0; i < x.size(); ++i) {
    const bool in_row = i / size_t(n) == 3;
    ASSERT_EQ(std::isnan(number(error[i])), in_row) << n << " at " << i;
    ASSERT_EQ(std::isnan(number(x_hat[i])), in_row) << n << " at " << i;
  }
}

TEST(HadamardPoint, NanAndInfinityMakeTheirRowNanAndNoOther) {
  for (float bad : {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::quiet_NaN(),
                    std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity()}) {
    for (int64_t n : {64, 128, 1024, 3584, 5120}) {
      expect_nan<float>(n, bad);
      expect_nan<bfloat16>(n, bad);
    }
  }
}

TEST(HadamardPoint, RowsOfZerosStayAndTinyAndLargeOnesAreQuantized) {
  for (float size : {0.0f, 1e-42f, 1e-36f, 1e34f}) {
    std::vector<float> x = noise<float>(2 * 128, 24), error(x.size()), baseline(x.size());
    for (float& v : x) v *= size;
    const HadamardPlan plan = plan_hadamard(128);
    hadamard_quant_rows<float>(x.data(), nullptr, error.data(), 2, plan, kSpec);
    hadamard_point_rows<float>(Isa::kBaseline, x.data(), nullptr, baseline.data(), 2, plan, kSpec);
    EXPECT_TRUE(same_bits(error, baseline)) << size;
    double largest = 0, largest_x = 0;
    for (size_t i = 0; i < x.size(); ++i) {
      largest = std::max(largest, std::abs(number(error[i])));
      largest_x = std::max(largest_x, std::abs(number(x[i])));
    }
    EXPECT_LE(largest, largest_x) << size;
    EXPECT_EQ(largest > 0, size > 0) << size;
  }
}

TEST(HadamardPoint, IsForGroupsThatAreBlocksOfSegmentsThatFillVectors) {
  EXPECT_TRUE(is_fast_point(plan_hadamard(128), {4, false, 128, true, 1.0}));
  EXPECT_FALSE(is_fast_point(plan_hadamard(128), {4, false, 64, true, 1.0}));
  EXPECT_FALSE(is_fast_point(plan_hadamard(32), kSpec));
  EXPECT_FALSE(is_fast_point(plan_hadamard(28 * 32), kSpec));
  EXPECT_FALSE(is_fast_point(plan_hadamard(4864), kSpec));  // 19 blocks of 256 in one group
  EXPECT_TRUE(is_fast_point(plan_hadamard(4864), {4, false, 256, true, 1.0}));
}

}  // namespace
}  // namespace spq::kernels
