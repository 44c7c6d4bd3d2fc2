// Points that quantize and write x_hat and the error in one pass.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "kernels/fake_quant.h"
#include "kernels/hadamard.h"
#include "kernels/rms_norm.h"
#include "tests/kernels/values.h"

namespace spq::kernels {
namespace {

using test::noise;
using test::number;
using test::same_bits;

std::vector<QuantSpec> specs_for(int64_t cols) {
  std::vector<QuantSpec> specs;
  for (int bits : {2, 4, 8}) {
    for (bool symmetric : {true, false}) {
      for (double clip : {1.0, 0.85}) {
        specs.push_back({bits, symmetric, -1, true, clip});
        if (cols % 24 == 0) specs.push_back({bits, symmetric, 24, false, clip});  // fills no vector
        if (cols % 32 == 0) specs.push_back({bits, symmetric, 32, false, clip});
      }
    }
  }
  return specs;
}

// The definition of fake_quant.h, one value after another; compiled like the kernels, without fused
// multiply-adds.
template <class T>
void plain_definition(const std::vector<T>& x, int64_t cols, const QuantSpec& spec, std::vector<T>& x_hat,
                      std::vector<T>& error) {
  using A = Accumulate<T>;
  const int64_t length = spec.group_size > 0 ? spec.group_size : cols;
  for (size_t begin = 0; begin < x.size(); begin += static_cast<size_t>(length)) {
    const QuantRange<A> r = find_range<T, A>(x.data() + begin, length, spec);
    for (size_t i = begin; i < begin + static_cast<size_t>(length); ++i) {
      const A v = static_cast<A>(x[i]);
      const A code = std::clamp(std::nearbyint(v / r.scale) + r.zero, r.code_min, r.code_max);
      x_hat[i] = static_cast<T>(r.scale * (code - r.zero));
      error[i] = static_cast<T>(static_cast<A>(x_hat[i]) - v);
    }
  }
}

template <class T>
void expect_plain_definition(const std::vector<T>& x, int64_t cols, const QuantSpec& spec) {
  const int64_t rows = static_cast<int64_t>(x.size()) / cols;
  std::vector<T> x_hat(x.size()), error(x.size()), hat_alone(x.size()), error_alone(x.size());
  fake_quant_rows(x.data(), x_hat.data(), error.data(), rows, cols, spec);
  fake_quant_rows<T>(x.data(), hat_alone.data(), nullptr, rows, cols, spec);
  fake_quant_rows<T>(x.data(), nullptr, error_alone.data(), rows, cols, spec);
  std::vector<T> expected_hat(x.size()), expected_error(x.size());
  plain_definition(x, cols, spec, expected_hat, expected_error);
  const std::string name = "cols " + std::to_string(cols) + " bits " + std::to_string(spec.bits) +
                           (spec.symmetric ? " symmetric" : " asymmetric") + " bytes " +
                           std::to_string(sizeof(T));
  EXPECT_TRUE(same_bits(error, expected_error)) << name;
  EXPECT_TRUE(same_bits(x_hat, expected_hat)) << name;
  EXPECT_TRUE(same_bits(hat_alone, expected_hat)) << name;
  EXPECT_TRUE(same_bits(error_alone, expected_error)) << name;
}

TEST(FakeQuantRows, BothOutputsEqualThePlainDefinitionBitForBit) {
  for (int64_t cols : {1, 7, 24, 33, 96, 144, 1000, 3072, 4097}) {
    for (const QuantSpec& spec : specs_for(cols)) {
      expect_plain_definition(noise<float>(3 * cols, 1), cols, spec);
      expect_plain_definition(noise<bfloat16>(3 * cols, 2), cols, spec);
      expect_plain_definition(noise<double>(3 * cols, 3), cols, spec);
    }
  }
}

TEST(FakeQuantRows, RangesFarFromZeroEqualThePlainDefinitionToo) {
  std::vector<float> x;  // zero points of millions, where the faster arithmetic does not apply
  for (int i = 0; i < 100; ++i) x.push_back(1000.0f + 0.0001f * static_cast<float>(i % 37));
  expect_plain_definition(x, 50, {4, false, -1, false, 1.0});
  expect_plain_definition(x, 50, {8, false, -1, false, 1.0});
}

TEST(FakeQuantRows, RangesAtTheEndsOfTheExponentsEqualThePlainDefinitionToo) {
  for (float size : {1e-44f, 1e-37f, 1e-30f, 1e-27f, 1e30f, 1e37f}) {
    std::vector<float> x = noise<float>(200, 5);
    for (float& v : x) v *= size;
    expect_plain_definition(x, 100, {4, false, -1, true, 1.0});
    expect_plain_definition(x, 100, {8, true, -1, true, 0.9});
    std::vector<bfloat16> narrow(x.begin(), x.end());
    narrow.resize(192);
    expect_plain_definition(narrow, 96, {4, false, -1, true, 1.0});
    expect_plain_definition(narrow, 96, {8, true, 32, true, 0.9});
  }
}

TEST(FakeQuantRows, SubnormalValuesAmongOthersEqualThePlainDefinitionToo) {
  std::vector<bfloat16> x = noise<bfloat16>(256, 12);
  for (size_t i = 0; i < x.size(); i += 3) x[i] = static_cast<bfloat16>(1e-39f * static_cast<float>(i));
  for (size_t i = 1; i < x.size(); i += 7) x[i] = static_cast<bfloat16>(-0.0f);
  expect_plain_definition(x, 128, {4, false, -1, true, 1.0});
  expect_plain_definition(x, 256, {4, true, 64, true, 1.0});
}

TEST(FakeQuantRows, ClippingToAHundredthEqualsThePlainDefinitionToo) {
  for (int64_t cols : {96, 97}) {
    expect_plain_definition(noise<bfloat16>(2 * cols, 13), cols, {4, true, -1, true, 0.01});
    expect_plain_definition(noise<bfloat16>(2 * cols, 14), cols, {3, false, -1, false, 0.01});
    expect_plain_definition(noise<float>(2 * cols, 15), cols, {5, false, -1, false, 0.01});
  }
}

// Quotients next to the edge between two codes: a division that is one bit off would show.
TEST(FakeQuantRows, EdgesBetweenCodesEqualThePlainDefinitionToo) {
  for (int step = 1; step < 400; ++step) {
    const float scale = 0.013f * static_cast<float>(step);
    std::vector<float> x = {-8 * scale, 7 * scale};
    for (int code = -8; code < 7; ++code) {
      float edge = (static_cast<float>(code) + 0.5f) * scale;
      for (int i = 0; i < 3; ++i) edge = std::nextafterf(edge, -1e9f);
      for (int i = 0; i < 7; ++i, edge = std::nextafterf(edge, 1e9f)) x.push_back(edge);
    }
    expect_plain_definition(x, static_cast<int64_t>(x.size()), {4, false, -1, true, 1.0});
  }
}

TEST(FakeQuantRows, WorksInPlaceAndOnRowsThatAreNotAligned) {
  const QuantSpec spec{4, false, -1, true, 1.0};
  for (int64_t cols : {77, 96}) {
    const std::vector<bfloat16> x = noise<bfloat16>(5 * cols, 4);
    std::vector<bfloat16> expected(x.size()), unused(x.size());
    plain_definition(x, cols, spec, expected, unused);
    for (size_t offset : {0, 1, 3}) {
      std::vector<bfloat16> shifted(x.size() + offset);
      std::copy(x.begin(), x.end(), shifted.begin() + static_cast<int64_t>(offset));
      bfloat16* rows = shifted.data() + offset;
      fake_quant_rows<bfloat16>(rows, rows, nullptr, 5, cols, spec);
      EXPECT_TRUE(same_bits(std::vector<bfloat16>(rows, rows + x.size()), expected)) << cols << " " << offset;
    }
  }
}

template <class T>
void expect_nan_comes_out(int64_t cols, bool symmetric) {
  using A = Accumulate<T>;
  constexpr A kNan = std::numeric_limits<A>::quiet_NaN();
  const auto n = static_cast<size_t>(cols);
  for (A bad : {kNan, -kNan, -std::numeric_limits<A>::infinity()}) {
    for (int64_t place : {int64_t{0}, int64_t{5}, cols - 1}) {
      std::vector<T> x = noise<T>(cols, 5), x_hat(n), error(n);
      x[static_cast<size_t>(place)] = static_cast<T>(bad);
      fake_quant_rows(x.data(), x_hat.data(), error.data(), 1, cols, {4, symmetric, -1, true, 1.0});
      for (size_t i = 0; i < n; ++i) {
        ASSERT_TRUE(std::isnan(number(x_hat[i])) && std::isnan(number(error[i]))) << bad << " at " << place;
      }
    }
  }
}

TEST(FakeQuantRows, NanAndInfinityMakeTheirGroupNan) {
  for (bool symmetric : {true, false}) {
    for (int64_t cols : {64, 67}) {
      expect_nan_comes_out<float>(cols, symmetric);
      expect_nan_comes_out<bfloat16>(cols, symmetric);
      expect_nan_comes_out<double>(cols, symmetric);
    }
  }
}

template <class T>
void expect_norm_then_quant(int64_t cols, const QuantSpec& spec) {
  const std::vector<T> x = noise<T>(4 * cols, 6);
  std::vector<T> normed(x.size()), hat(x.size()), error(x.size()), fused_hat(x.size()), fused_error(x.size());
  rms_norm(x.data(), normed.data(), 4, cols, 1e-5);
  fake_quant_rows(normed.data(), hat.data(), error.data(), 4, cols, spec);
  rms_norm_quant(x.data(), fused_hat.data(), fused_error.data(), 4, cols, 1e-5, spec);
  EXPECT_TRUE(same_bits(fused_hat, hat)) << cols;
  EXPECT_TRUE(same_bits(fused_error, error)) << cols;
}

TEST(RmsNormQuant, EqualsNormThenQuantizationBitForBit) {
  for (int64_t cols : {1, 33, 96, 4097}) {
    for (const QuantSpec& spec : specs_for(cols)) {
      expect_norm_then_quant<float>(cols, spec);
      expect_norm_then_quant<bfloat16>(cols, spec);
      expect_norm_then_quant<double>(cols, spec);
    }
  }
}

template <class T>
void expect_nan_after_norm(float bad) {
  std::vector<T> x = noise<T>(40, 7), y(40), x_hat(40);
  x[23] = static_cast<T>(bad);
  rms_norm(x.data(), y.data(), 1, 40, 1e-5);
  rms_norm_quant<T>(x.data(), x_hat.data(), nullptr, 1, 40, 1e-5, {4, true, -1, true, 1.0});
  EXPECT_TRUE(std::isnan(number(y[23])));
  EXPECT_TRUE(std::isnan(number(x_hat[23])));
}

TEST(RmsNormQuant, NanAndInfinityComeOutAsNan) {
  for (float bad : {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::quiet_NaN(),
                    std::numeric_limits<float>::infinity()}) {
    expect_nan_after_norm<float>(bad);
    expect_nan_after_norm<bfloat16>(bad);
  }
}

// Error of a point behind H in double, from the three steps on their own.
std::vector<double> hadamard_point(const std::vector<double>& x, int64_t n, const QuantSpec& spec) {
  const HadamardPlan plan = plan_hadamard(n);
  const int64_t rows = static_cast<int64_t>(x.size()) / n;
  std::vector<double> rotated(x.size()), error(x.size());
  hadamard_rows(x.data(), rotated.data(), rows, plan, HadamardDirection::kForward);
  fake_quant_rows<double>(rotated.data(), nullptr, error.data(), rows, n, spec);
  hadamard_rows(error.data(), error.data(), rows, plan, HadamardDirection::kInverse);
  return error;
}

// A value on the edge between two codes may fall to either side: one in these 71 rows changes the error by a
// few per cent of its norm.
template <class T>
void expect_hadamard_point(int64_t n, const QuantSpec& spec, double tolerance) {
  const int64_t rows = 71;  // not a multiple of the rows that are transformed at once
  const std::vector<T> x = noise<T>(rows * n, 8);
  std::vector<double> wide;
  for (const T& v : x) wide.push_back(number(v));
  const std::vector<double> expected = hadamard_point(wide, n, spec);
  std::vector<T> x_hat(x.size()), error(x.size()), in_place = x;
  hadamard_quant_rows(x.data(), x_hat.data(), error.data(), rows, plan_hadamard(n), spec);
  hadamard_quant_rows<T>(in_place.data(), in_place.data(), nullptr, rows, plan_hadamard(n), spec);
  EXPECT_TRUE(same_bits(in_place, x_hat)) << n;
  double difference = 0, size = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    difference += std::pow(number(error[i]) - expected[i], 2);
    size += std::pow(expected[i], 2);
    const double sum = number(x[i]) + number(error[i]);
    ASSERT_NEAR(number(x_hat[i]), sum, test::rounding<T>(sum)) << n;
  }
  EXPECT_LE(std::sqrt(difference / size), tolerance) << "n " << n << " bytes " << sizeof(T);
}

TEST(HadamardQuantRows, EqualsTransformQuantizationAndInverseInDouble) {
  const QuantSpec spec{4, false, -1, true, 1.0};
  for (int64_t n : {4, 12, 24, 64, 128, 152, 256, 352, 1376, 1792, 2048}) {
    expect_hadamard_point<double>(n, spec, 1e-12);
    expect_hadamard_point<float>(n, spec, 5e-2);
    expect_hadamard_point<bfloat16>(n, spec, 5e-2);
  }
  expect_hadamard_point<double>(128, {4, true, 32, true, 1.0}, 1e-12);
  expect_hadamard_point<double>(152, {8, false, 38, false, 0.9}, 1e-12);  // groups across blocks of 8
}

TEST(HadamardQuantRows, NanAndInfinityMakeTheirBlockNan) {
  for (float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    std::vector<float> x = noise<float>(3 * 56, 9), error(x.size());
    x[60] = bad;
    hadamard_quant_rows<float>(x.data(), nullptr, error.data(), 3, plan_hadamard(56),
                               {4, false, -1, true, 1.0});
    for (size_t i = 0; i < x.size(); ++i) EXPECT_EQ(std::isnan(error[i]), i / 56 == 1) << i;
  }
}

}  // namespace
}  // namespace spq::kernels
