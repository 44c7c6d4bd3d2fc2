#include "ptq/weight_quantizer.h"

#include <ATen/ops/full.h>
#include <ATen/ops/linspace.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <set>
#include <string>
#include <vector>

#include "core/error.h"
#include "tests/ptq/problem.h"
#include "tests/support/golden.h"

namespace spq::ptq {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

struct GoldenCase {
  std::string name;
  WeightQuantSpec spec;
};

std::vector<GoldenCase> golden_cases() {
  std::vector<GoldenCase> cases;
  for (int bits : {4, 8}) {
    for (bool symmetric : {true, false}) {
      for (int64_t group : {-1, 16, 32}) {
        for (bool mse : {false, true}) {
          const std::string range = group < 0 ? "pc" : fmt::format("g{}", group);
          const std::string name =
              fmt::format("{}.{}.{}{}", bits, symmetric ? "sym" : "asym", range, mse ? ".mse" : "");
          cases.push_back({name, {bits, symmetric, group, mse, at::kFloat}});
        }
      }
    }
  }
  return cases;
}

// Where the golden README says that a zero point or code hangs on the last bit of a division, or that the
// reference is degenerate (row 7: range clamped to 1e-5).
bool is_degenerate(const GoldenCase& c, int64_t row, int64_t column) {
  if (c.spec.symmetric) return false;
  if (row == 6 || row == 13) return true;
  if (c.spec.group_size < 0) return false;
  return row == 7 || (row == 9 && column >= 16 && column < 32);
}

TEST(WeightQuantizer, ScalesZerosAndCodesEqualTheReferenceInEveryMode) {
  const test::TensorMap golden = test::golden("weight_quant");
  for (const GoldenCase& c : golden_cases()) {
    const QuantizedWeight q = quantize_rtn(golden.at("W"), c.spec, "W");
    const at::Tensor codes = q.codes.to(at::kDouble);
    const at::Tensor scale = golden.at(c.name + ".scale").to(at::kDouble);
    const at::Tensor zero = golden.at(c.name + ".zero").to(at::kDouble);
    const at::Tensor dq = golden.at(c.name + ".dq").to(at::kDouble);
    const int64_t length = 64 / scale.size(1);
    for (int64_t row = 0; row < 24; ++row) {
      for (int64_t column = 0; column < 64; ++column) {
        if (is_degenerate(c, row, column)) continue;
        const int64_t g = column / length;
        const double s = scale[row][g].item<double>();
        const double z = zero[row][g].item<double>();
        ASSERT_NEAR(q.scale[row][g].item<double>(), s, 1e-6 * s) << c.name << " row " << row;
        ASSERT_EQ(q.zero[row][g].item<double>(), z) << c.name << " row " << row;
        const double expected = std::nearbyint(dq[row][column].item<double>() / s) + z;
        ASSERT_EQ(codes[row][column].item<double>(), expected) << c.name << " " << row << " " << column;
      }
    }
  }
}

TEST(WeightQuantizer, ValuesEqualTheReferenceAlsoInDegenerateRows) {
  const test::TensorMap golden = test::golden("weight_quant");
  const at::Tensor largest = golden.at("W").abs().amax(1, true);
  for (const GoldenCase& c : golden_cases()) {
    const at::Tensor q = dequantize(quantize_rtn(golden.at("W"), c.spec, "W"), {}, at::kFloat);
    const at::Tensor difference = q.sub(golden.at(c.name + ".dq")).abs();
    for (int64_t row = 0; row < 24; ++row) {
      if (row == 13 && !c.spec.symmetric) continue;  // a shifted zero point moves every value
      const bool constant = row == 7 && !c.spec.symmetric && c.spec.group_size > 0;
      const double tolerance = constant ? 1e-6 : 1e-6 * largest[row].item<double>();
      EXPECT_LE(difference[row].max().item<double>(), tolerance) << c.name << " row " << row;
    }
  }
}

TEST(WeightQuantizer, EveryBitWidthUsesItsLevelsAndStaysInRange) {
  for (int bits = 2; bits <= 8; ++bits) {
    for (bool symmetric : {true, false}) {
      const WeightQuantSpec spec{bits, symmetric, -1, false, at::kFloat};
      // Asymmetric: a range whose zero point is no tie between two integers.
      const at::Tensor w = at::linspace(-1, symmetric ? 1 : 2, 2048).view({1, 2048});
      const at::Tensor codes = quantize_rtn(w, spec, "w").codes.to(at::kLong);
      const int64_t* data = codes.const_data_ptr<int64_t>();
      const std::set<int64_t> used(data, data + codes.numel());
      EXPECT_EQ(static_cast<int>(used.size()), (1 << bits) - (symmetric ? 1 : 0)) << bits << symmetric;
      EXPECT_GE(*used.begin(), code_range(spec).low);
      EXPECT_LE(*used.rbegin(), code_range(spec).high);
    }
  }
}

// Against the definition in double: the scale is a number of the model's dtype, and the code is the nearest
// one given that scale, not the unrounded one.
TEST(WeightQuantizer, RoundsScalesToTheModelDtypeBeforeCodesAreComputed) {
  const at::Tensor weight = testing::random_problem(16, 128, 4, 3).weight;
  for (at::ScalarType dtype : {at::kBFloat16, at::kHalf}) {
    for (bool symmetric : {true, false}) {
      for (bool mse : {false, true}) {
        const WeightQuantSpec spec{4, symmetric, 32, mse, dtype};
        const at::Tensor w = weight.to(dtype);
        const QuantizedWeight q = quantize_rtn(w, spec, "w");
        EXPECT_EQ(q.scale.scalar_type(), dtype);
        const at::Tensor s = q.scale.to(at::kDouble).repeat_interleave(32, 1);
        const at::Tensor z = q.zero.to(at::kDouble).repeat_interleave(32, 1);
        const at::Tensor expected =
            w.to(at::kDouble).div(s).round().add(z).clamp(code_range(spec).low, code_range(spec).high);
        EXPECT_EQ(testing::rows_that_differ(q.codes, expected), 0) << symmetric << mse;
        const QuantizedWeight unrounded = quantize_rtn(w, {4, symmetric, 32, mse, at::kFloat}, "w");
        EXPECT_FALSE(unrounded.scale.equal(q.scale.to(at::kFloat)));
      }
    }
  }
}

TEST(WeightQuantizer, ClipSearchLowersTheErrorItMinimises) {
  at::Tensor weight = testing::random_problem(32, 256, 4, 5).weight;
  weight.select(1, 17).mul_(6);
  for (at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    for (bool symmetric : {true, false}) {
      const auto error = [&](bool mse) {
        const QuantizedWeight q = quantize_rtn(weight, {4, symmetric, -1, mse, dtype}, "w");
        return dequantize(q, {}, at::kDouble).sub(weight.to(at::kDouble)).abs().pow(2.4).sum(1);
      };
      const at::Tensor plain = error(false);
      const at::Tensor searched = error(true);
      EXPECT_TRUE(searched.le(plain.mul(1 + 1e-6)).all().item<bool>());
      EXPECT_LT(searched.sum().item<double>(), 0.95 * plain.sum().item<double>());
    }
  }
}

// The search is for sum |error|^2.4 over the grid p = 1 - i/100: compared with std::pow in double.
TEST(WeightQuantizer, ClipSearchFindsTheBestOfTheGrid) {
  const at::Tensor weight = testing::random_problem(24, 100, 4, 6).weight;
  const QuantParams found = find_params(weight, {4, true, -1, true, at::kFloat}, "w");
  const at::Tensor w = weight.to(at::kDouble);
  const at::Tensor top = w.abs().amax(1, true);
  const auto error = [&](const at::Tensor& scale) {
    return w.div(scale).round().clamp(-8, 7).mul(scale).sub(w).abs().pow(2.4).sum(1, true);
  };
  const at::Tensor best = error(found.scale.to(at::kDouble));
  for (int i = 0; i < 80; ++i) {
    EXPECT_TRUE(best.le(error(top.mul((1 - i / 100.0) / 7)).mul(1 + 1e-5)).all().item<bool>()) << i;
  }
}

TEST(WeightQuantizer, GroupThatIsConstantToWithinRoundingKeepsAnOrdinaryZeroPoint) {
  for (double value : {0.7, -1300.0, 1e-7}) {
    at::Tensor w = at::full({1, 32}, value, at::kFloat);
    w.select(1, 5).mul_(1 + 1e-6);
    const QuantizedWeight q = quantize_rtn(w, {4, false, 32, false, at::kFloat}, "w");
    EXPECT_GE(q.zero.item<float>(), 0) << value;
    EXPECT_LE(q.zero.item<float>(), 15) << value;
    EXPECT_LE(test::max_error(dequantize(q, {}, at::kFloat), w), 2e-6 * std::max(1.0, std::abs(value)));
  }
}

TEST(WeightQuantizer, QuantizesAMatrixWithoutRows) {
  const QuantizedWeight q = quantize_rtn(at::zeros({0, 64}), {4, true, 32, false, at::kFloat}, "w");
  EXPECT_EQ(q.codes.sizes(), at::IntArrayRef({0, 64}));
  EXPECT_EQ(dequantize(q, {}, at::kFloat).sizes(), at::IntArrayRef({0, 64}));
}

TEST(WeightQuantizer, RefusesBadInputNamingIt) {
  const auto refuse = [](const at::Tensor& w, const WeightQuantSpec& spec, const std::string& text) {
    EXPECT_THAT([&] { quantize_rtn(w, spec, "layer 3 q_proj"); },
                ThrowsMessage<Error>(AllOf(HasSubstr("layer 3 q_proj"), HasSubstr(text))));
  };
  const at::Tensor ones = at::full({4, 64}, 1.0, at::kFloat);
  for (at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    at::Tensor bad = ones.to(dtype, /*non_blocking=*/false, /*copy=*/true);
    bad[2][37].fill_(std::numeric_limits<float>::quiet_NaN());
    refuse(bad, {}, "nan at row 2, column 37");
  }
  refuse(ones, {9, true, -1, false, at::kFloat}, "9 bits, expected 2 to 8");
  refuse(ones, {16, true, -1, false, at::kFloat}, "16 bits");
  refuse(ones, {4, true, 48, false, at::kFloat}, "group size 48 with 64 columns");
  refuse(ones, {4, true, -1, false, at::kDouble}, "scales of dtype Double");
  refuse(ones.to(at::kDouble), {}, "dtype Double");
  refuse(ones.view({4, 8, 8}), {}, "3 dimensions");
  refuse(ones.mul(1e6), {4, true, -1, false, at::kHalf}, "a scale overflows Half");
}

}  // namespace
}  // namespace spq::ptq
