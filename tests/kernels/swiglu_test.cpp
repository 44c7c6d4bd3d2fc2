#include "kernels/swiglu.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/exponential.h"
#include "kernels/isa.h"
#include "tests/kernels/values.h"

namespace spq::kernels {
namespace {

using test::noise;
using test::number;

TEST(RowExp, StaysWithinTwoUlpOfTheExponentialOnEveryInstructionSet) {
  std::vector<float> x;
  for (double v = -87.33; v < 88.37; v += 0.00037) x.push_back(static_cast<float>(v));
  std::vector<float> y(x.size());
  for (Isa isa : {Isa::kBaseline, Isa::kAvx2, Isa::kAvx512}) {
    if (isa > best_isa()) break;
    run_on(isa, [&] {
      for (size_t i = 0; i < x.size(); ++i) y[i] = row_exp(x[i]);
    });
    double worst = 0;
    for (size_t i = 0; i < x.size(); ++i) {
      const double exact = std::exp(static_cast<double>(x[i]));
      const double ulp = std::ldexp(1.0, std::ilogb(exact) - 23);
      worst = std::max(worst, std::abs(static_cast<double>(y[i]) - exact) / ulp);
    }
    EXPECT_LE(worst, 2.0) << "level " << static_cast<int>(isa);
  }
}

TEST(RowExp, IsExactAtTheEndsOfItsRange) {
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(row_exp(0.0f), 1.0f);
  EXPECT_EQ(row_exp(-infinity), 0.0f);
  EXPECT_EQ(row_exp(-1000.0f), 0.0f);
  EXPECT_EQ(row_exp(infinity), infinity);
  EXPECT_EQ(row_exp(88.8f), infinity);
  EXPECT_EQ(row_exp(-87.7f), 0.0f);
  EXPECT_NEAR(row_exp(-87.5f), std::exp(-87.5), 2e-45);  // subnormal
  EXPECT_TRUE(std::isnan(row_exp(std::numeric_limits<float>::quiet_NaN())));
  EXPECT_TRUE(std::isnan(row_exp(-std::numeric_limits<float>::quiet_NaN())));
}

double sigmoid(double g) {
  return 1 / (1 + std::exp(-g));
}

// n values, `shift` of them unused at the front so that nothing is aligned.
template <class T>
void expect_swiglu(int64_t n, int64_t shift, double relative) {
  const std::vector<T> gate = noise<T>(n + shift, 1), up = noise<T>(n + shift, 2),
                       grad = noise<T>(n + shift, 3);
  std::vector<T> product(gate.size()), grad_gate(gate.size()), grad_up = grad;
  swiglu(gate.data() + shift, up.data() + shift, product.data() + shift, n);
  swiglu_backward(gate.data() + shift, up.data() + shift, grad_up.data() + shift, grad_gate.data() + shift,
                  grad_up.data() + shift, n);
  for (size_t i = static_cast<size_t>(shift); i < gate.size(); ++i) {
    const double g = number(gate[i]), u = number(up[i]), d = number(grad[i]), s = sigmoid(g);
    const double slope = s * (1 + g * (1 - s));
    // Where the terms of the slope cancel, the error is that of the terms.
    const double terms = std::abs(d * u) * s * (1 + std::abs(g) * (1 - s));
    ASSERT_NEAR(number(product[i]), g * s * u, relative * std::abs(g * s * u) + 1e-37) << i;
    ASSERT_NEAR(number(grad_up[i]), d * g * s, relative * std::abs(d * g * s) + 1e-37) << i;
    ASSERT_NEAR(number(grad_gate[i]), d * u * slope, relative * terms + 1e-37) << i;
  }
}

TEST(Swiglu, ForwardAndBackwardEqualTheDefinitionInDouble) {
  for (int64_t n : {1, 15, 16, 33, 1003}) {
    for (int64_t shift : {0, 1}) {
      expect_swiglu<double>(n, shift, 1e-14);
      expect_swiglu<float>(n, shift, 1e-6);
      expect_swiglu<bfloat16>(n, shift, 4e-3);  // one rounding
    }
  }
}

TEST(Swiglu, LargeGatesSaturateAndNanStaysNan) {
  const std::vector<float> gate = {200.0f, -200.0f, 0.0f, std::numeric_limits<float>::quiet_NaN()};
  const std::vector<float> up(4, 3.0f), grad(4, 2.0f);
  std::vector<float> product(4), grad_gate(4), grad_up(4);
  swiglu(gate.data(), up.data(), product.data(), 4);
  swiglu_backward(gate.data(), up.data(), grad.data(), grad_gate.data(), grad_up.data(), 4);
  EXPECT_EQ(product[0], 600.0f);
  EXPECT_EQ(product[1], 0.0f);
  EXPECT_EQ(product[2], 0.0f);
  EXPECT_EQ(grad_gate[0], 6.0f);
  EXPECT_EQ(grad_gate[1], 0.0f);
  EXPECT_EQ(grad_gate[2], 3.0f);
  EXPECT_EQ(grad_up[0], 400.0f);
  EXPECT_TRUE(std::isnan(product[3]) && std::isnan(grad_gate[3]) && std::isnan(grad_up[3]));
  const bfloat16 nan(std::numeric_limits<float>::quiet_NaN()), one(1.0f);
  bfloat16 narrow_product;
  swiglu(&nan, &one, &narrow_product, 1);
  EXPECT_TRUE(std::isnan(number(narrow_product)));
  swiglu(&one, &nan, &narrow_product, 1);
  EXPECT_TRUE(std::isnan(number(narrow_product)));
}

}  // namespace
}  // namespace spq::kernels
