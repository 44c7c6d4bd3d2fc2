#include "kernels/fake_quant.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "kernels/bfloat16.h"
#include "tests/support/golden.h"

namespace spq::kernels {
namespace {

// A case of act_quant.safetensors: bits, symmetry, per token or groups of 16, clip ratio.
struct GoldenCase {
  std::string name;
  QuantSpec spec;
};

std::vector<GoldenCase> golden_cases() {
  std::vector<GoldenCase> cases;
  for (int bits : {4, 8}) {
    for (bool symmetric : {true, false}) {
      for (bool grouped : {false, true}) {
        for (double clip : {1.0, 0.9}) {
          const std::string name = std::to_string(bits) + (symmetric ? ".sym." : ".asym.") +
                                   (grouped ? "g16" : "tok") + (clip == 1.0 ? ".c1.0" : ".c0.9");
          cases.push_back({name, {bits, symmetric, grouped ? 16 : -1, !grouped, clip}});
        }
      }
    }
  }
  return cases;
}

// Rows where the reference is undefined, or where a code depends on the last bit of a division: the golden
// README names them.
bool is_knife_edge(const GoldenCase& c, int64_t row, int64_t group) {
  if (c.spec.symmetric) return false;
  if (row == 3) return true;  // all zero
  if (c.spec.group_size < 0) return false;
  return row == 4 || row == 5 || (row == 8 && group == 1) || (row == 20 && group >= 1);
}

TEST(FakeQuant, CodesEqualTheReferenceInEveryMode) {
  const test::TensorMap golden = test::golden("act_quant");
  const float* x = golden.at("x").data_ptr<float>();
  for (const GoldenCase& c : golden_cases()) {
    std::vector<int16_t> codes(21 * 64);
    quant_codes(x, codes.data(), 21, 64, c.spec);
    const int16_t* expected = golden.at(c.name + ".code").data_ptr<int16_t>();
    int compared = 0;
    for (int64_t i = 0; i < 21 * 64; ++i) {
      if (is_knife_edge(c, i / 64, i % 64 / 16)) continue;
      ASSERT_EQ(codes[static_cast<size_t>(i)], expected[i])
          << c.name << " row " << i / 64 << " column " << i % 64;
      ++compared;
    }
    EXPECT_GE(compared, 17 * 64) << c.name;
  }
}

TEST(FakeQuant, ValuesEqualTheReferenceInEveryMode) {
  const test::TensorMap golden = test::golden("act_quant");
  const float* x = golden.at("x").data_ptr<float>();
  for (const GoldenCase& c : golden_cases()) {
    std::vector<float> error(21 * 64);
    fake_quant_rows<float>(x, nullptr, error.data(), 21, 64, c.spec);
    const float* y = golden.at(c.name + ".y").data_ptr<float>();
    for (int64_t row = 0; row < 21; ++row) {
      float largest = 0;
      for (int64_t i = row * 64; i < row * 64 + 64; ++i) largest = std::max(largest, std::abs(x[i]));
      for (int64_t i = row * 64; i < row * 64 + 64; ++i) {
        if (std::isnan(y[i])) continue;  // the reference's division by a zero scale
        ASSERT_NEAR(x[i] + error[static_cast<size_t>(i)], y[i], 1e-6 * largest) << c.name << " row " << row;
      }
    }
  }
}

TEST(FakeQuant, ConstantGroupIsRepresentedExactlyWhereTheReferenceDividesByZero) {
  const std::vector<float> x(16, 0.7f);
  std::vector<float> error(16, 1.0f);
  fake_quant_rows<float>(x.data(), nullptr, error.data(), 1, 16, {4, false, 16, false, 1.0});
  for (float e : error) EXPECT_NEAR(e, 0.0f, 1e-7f);
}

TEST(FakeQuant, EveryBitWidthUsesExactlyItsLevels) {
  std::vector<double> x(4096);
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<double>(i) / 4095.0 * 2.0 - 1.0;
  std::vector<int16_t> codes(x.size());
  for (int bits = 2; bits <= 8; ++bits) {
    for (bool symmetric : {true, false}) {
      quant_codes(x.data(), codes.data(), 1, 4096, {bits, symmetric, -1, true, 1.0});
      const std::set<int16_t> used(codes.begin(), codes.end());
      const int levels = (1 << bits) - (symmetric ? 1 : 0);  // -2^(b-1) is out of reach without clipping
      EXPECT_EQ(static_cast<int>(used.size()), levels) << bits << (symmetric ? " symmetric" : " asymmetric");
    }
  }
}

// Against the definition in double, at lengths that leave tails behind every vector width.
template <class T, class A>
void expect_definition(int64_t cols, const QuantSpec& spec, double tolerance) {
  std::vector<T> x(static_cast<size_t>(3 * cols));
  for (size_t i = 0; i < x.size(); ++i)
    x[i] = static_cast<T>(static_cast<A>(std::sin(1.7 * double(i)) * 3 + 0.4));
  std::vector<T> error(x.size());
  fake_quant_rows<T>(x.data(), nullptr, error.data(), 3, cols, spec);
  for (int64_t row = 0; row < 3; ++row) {
    double low = 0, high = 0;
    for (int64_t i = 0; i < cols; ++i) {
      const double v = static_cast<double>(static_cast<A>(x[static_cast<size_t>(row * cols + i)]));
      low = std::min(low, v);
      high = std::max(high, v);
    }
    const double scale = (high - low) / ((1 << spec.bits) - 1);
    const double zero = std::nearbyint(-low / scale);
    for (int64_t i = 0; i < cols; ++i) {
      const auto at = static_cast<size_t>(row * cols + i);
      const double v = static_cast<double>(static_cast<A>(x[at]));
      const double code = std::clamp(std::nearbyint(v / scale) + zero, 0.0, double((1 << spec.bits) - 1));
      const double expected = scale * (code - zero) - v;
      const double found = static_cast<double>(static_cast<A>(error[at]));
      const bool tie = std::abs(std::abs(v / scale - std::floor(v / scale)) - 0.5) < 1e-4;
      if (tie) continue;
      ASSERT_NEAR(found, expected, tolerance) << "cols " << cols << " row " << row << " column " << i;
    }
  }
}

TEST(FakeQuant, MatchesTheDefinitionAtAwkwardLengthsInEveryType) {
  for (int64_t cols : {1, 3, 7, 15, 16, 17, 31, 33, 128, 4096, 4099}) {
    const QuantSpec spec{4, false, -1, true, 1.0};
    expect_definition<double, double>(cols, spec, 1e-14);
    expect_definition<float, float>(cols, spec, 2e-6);
    expect_definition<bfloat16, float>(cols, spec, 8e-3);  // half a step of bf16 at 3.4
  }
}

TEST(FakeQuant, NanAndInfinityReachEveryResultOfTheirGroup) {
  for (float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    std::vector<float> x(64, 1.0f), error(64);
    x[37] = bad;
    fake_quant_rows<float>(x.data(), nullptr, error.data(), 1, 64, {4, false, -1, true, 1.0});
    for (float e : error) EXPECT_TRUE(std::isnan(e));
  }
}

TEST(Bfloat16, RoundsToNearestEvenLikeTheUpperHalfOfAFloat) {
  EXPECT_EQ(bfloat16(1.0f).bits, 0x3f80);
  EXPECT_EQ(bfloat16(1.00390625f).bits, 0x3f80);  // halfway: to even
  EXPECT_EQ(bfloat16(1.01171875f).bits, 0x3f82);  // halfway: to even
  EXPECT_TRUE(std::isnan(static_cast<float>(bfloat16(std::numeric_limits<float>::quiet_NaN()))));
}

}  // namespace
}  // namespace spq::kernels
