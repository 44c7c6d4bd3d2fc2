#include "kernels/hadamard.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "core/error.h"
#include "kernels/bfloat16.h"
#include "kernels/hadamard_factors.h"
#include "tests/support/golden.h"

namespace spq::kernels {
namespace {

TEST(HadamardFactors, EveryMatrixIsOrthogonalWithEntriesPlusMinusOne) {
  ASSERT_EQ(hadamard_factors().size(), 12u);
  for (const HadamardFactor& f : hadamard_factors()) {
    for (int64_t i = 0; i < f.order; ++i) {
      for (int64_t j = 0; j < f.order; ++j) {
        int64_t dot = 0;
        for (int64_t c = 0; c < f.order; ++c) dot += f.sign(i, c) * f.sign(j, c);
        ASSERT_EQ(dot, i == j ? f.order : 0) << "order " << f.order << " rows " << i << " " << j;
      }
    }
  }
}

TEST(HadamardPlan, EverySizeOfThePublishedModelsHasAFullTransform) {
  const std::map<int64_t, int64_t> factors = {{4096, 1},    {5120, 40},  {8192, 1},  {2048, 1},
                                              {3072, 12},   {64, 1},     {128, 1},   {11008, 172},
                                              {13824, 108}, {28672, 28}, {14336, 28}};
  for (const auto& [n, factor] : factors) {
    const HadamardPlan plan = plan_hadamard(n);
    EXPECT_EQ(plan.block, n);
    EXPECT_EQ(plan.factor, factor) << n;
  }
}

TEST(HadamardPlan, OtherSizesBecomeBlockDiagonalWithTheLargestBlock) {
  EXPECT_EQ(plan_hadamard(4864).block, 256);   // 19 * 256
  EXPECT_EQ(plan_hadamard(18944).block, 512);  // 37 * 512
  EXPECT_EQ(plan_hadamard(7).block, 1);
  EXPECT_EQ(plan_hadamard(36 * 3).block, 108);
  EXPECT_THROW(plan_hadamard(0), Error);
}

TEST(HadamardRows, EqualTheReferenceForEveryFactor) {
  const test::TensorMap golden = test::golden("hadamard");
  int sizes = 0;
  for (const auto& [name, x] : golden) {
    if (!name.ends_with(".x")) continue;
    const std::string n = name.substr(0, name.size() - 2);
    const HadamardPlan plan = plan_hadamard(x.size(1));
    EXPECT_EQ(plan.factor, golden.at(n + ".K").item<int>()) << n;
    at::Tensor y = x.clone();
    hadamard_rows(x.data_ptr<float>(), y.data_ptr<float>(), x.size(0), plan, HadamardDirection::kForward);
    EXPECT_LE(test::max_error(y, golden.at(n + ".y")), 3e-6) << n;
    ++sizes;
  }
  EXPECT_EQ(sizes, 16);
}

template <class T>
double round_trip_error(int64_t n) {
  const HadamardPlan plan = plan_hadamard(n);
  using A = Accumulate<T>;
  std::vector<T> x(static_cast<size_t>(2 * n)), y(x.size());
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<T>(static_cast<A>(std::cos(0.9 * double(i))));
  hadamard_rows(x.data(), y.data(), 2, plan, HadamardDirection::kForward);
  hadamard_rows(y.data(), y.data(), 2, plan, HadamardDirection::kInverse);
  double error = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    error = std::max(error, std::abs(double(static_cast<A>(x[i])) - double(static_cast<A>(y[i]))));
  }
  return error;
}

TEST(HadamardRows, InverseUndoesForwardAtTrueModelSizes) {
  for (int64_t n : {128, 352, 4864, 5120, 8192, 11008, 13824, 14336, 28672}) {
    EXPECT_LE(round_trip_error<double>(n), 1e-13) << n;
    EXPECT_LE(round_trip_error<float>(n), 2e-5) << n;
    EXPECT_LE(round_trip_error<bfloat16>(n), 4e-2) << n;
  }
}

}  // namespace
}  // namespace spq::kernels
