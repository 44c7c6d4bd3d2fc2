#include "model/bf16_product.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/randn.h>
#include <gtest/gtest.h>

#include <iterator>

#include "model/product.h"
#include "tests/support/golden.h"

namespace spq::model {
namespace {

struct Shape {
  int64_t rows, depth, columns;
};

constexpr Shape kShapes[] = {{1, 1, 1}, {1, 70, 3}, {33, 1000, 17}, {5, 60000, 40}};

at::Tensor random_bf16(int64_t rows, int64_t columns) {
  return at::randn({rows, columns}, at::kFloat).to(at::kBFloat16);
}

// Products of bf16 numbers are exact in fp32; the sums are what can go wrong.
TEST(Bf16Product, IsSummedInFp32AndAdded) {
  if (!multiplies_bf16()) GTEST_SKIP() << "no native bf16 products here";
  for (const auto& [rows, depth, columns] : kShapes) {
    const at::Tensor a = random_bf16(rows, depth), b = random_bf16(depth, columns);
    const at::Tensor expected = a.to(at::kDouble).mm(b.to(at::kDouble));
    const at::Tensor c = at::empty({rows, columns}, at::kFloat);
    bf16_product(c, a, b, /*add=*/false);
    EXPECT_LE(test::relative_error(c, expected), 5e-6) << depth;
    bf16_product(c, a.t().contiguous().t(), b.t().contiguous().t(), /*add=*/true);  // as they lie in memory
    EXPECT_LE(test::relative_error(c, expected.mul(2)), 5e-6) << depth;
  }
}

TEST(Bf16Product, AddsTheTransposedProduct) {
  for (const auto& [rows, depth, columns] : kShapes) {
    const at::Tensor a = random_bf16(depth, columns), b = random_bf16(depth, columns);
    at::Tensor m = at::randn({columns, columns}, at::kFloat);
    const at::Tensor expected = m.to(at::kDouble).add(a.to(at::kDouble).t().mm(b.to(at::kDouble)));
    ASSERT_EQ(add_bf16_product(m, a, b), multiplies_bf16());
    if (!multiplies_bf16()) GTEST_SKIP() << "no native bf16 products here";
    EXPECT_LE(test::relative_error(m, expected), 5e-6) << depth;
  }
}

TEST(Bf16Product, LeavesOtherDtypesAlone) {
  const at::Tensor a = at::randn({4, 4}, at::kFloat);
  at::Tensor m = a.clone();
  EXPECT_FALSE(multiplies_in_bf16(a, a));
  EXPECT_FALSE(multiplies_in_bf16(a, a.to(at::kBFloat16)));
  EXPECT_FALSE(add_bf16_product(m, a, a));
  EXPECT_TRUE(m.equal(a));
}

at::Tensor wide(const at::Tensor& x) {
  return x.to(at::kDouble);
}

// Few rows and many, on both sides of where MKL takes over; one rounding to bf16 each way.
TEST(Product, EqualsTheSumInDoubleToOneRoundingForEachDtypeAndLayout) {
  constexpr int64_t kDepth = 96, kColumns = 40;
  for (int64_t rows : {1, 511, 512, 1023, 1025}) {
    for (auto dtype : {at::kBFloat16, at::kFloat, at::kDouble}) {
      const double roundings = dtype == at::kBFloat16 ? 8e-3 : dtype == at::kFloat ? 2e-6 : 1e-14;
      const at::Tensor start = at::randn({rows, kColumns}, dtype);
      const at::Tensor x = at::randn({rows, kDepth}, dtype), y = at::randn({rows, 3 * kDepth}, dtype);
      const at::Tensor w = at::randn({kDepth, kColumns}, dtype), v = at::randn({3 * kDepth, kColumns}, dtype);
      const at::Tensor xw = wide(x).mm(wide(w)), sum = wide(y).mm(wide(v)).add(xw);
      const at::Tensor results[] = {product(x, w), product(x, w.t().contiguous().t()),
                                    product_sum({}, {{x, w}, {y, v}}), product_sum(start, {{x, w}, {y, v}}),
                                    product_sum(start, {{y, v.t().contiguous().t()}, {x, w}})};
      const at::Tensor expected[] = {xw, xw, sum, sum.add(wide(start)), sum.add(wide(start))};
      for (size_t i = 0; i < std::size(results); ++i) {
        ASSERT_EQ(results[i].scalar_type(), dtype);
        EXPECT_LE(test::relative_error(results[i], expected[i]), roundings)
            << rows << " " << dtype << " " << i;
      }
    }
  }
}

TEST(Product, LeavesItsInputsAlone) {
  const at::Tensor start = at::randn({600, 8}, at::kBFloat16), before = start.clone();
  const at::Tensor x = at::randn({600, 16}, at::kBFloat16), w = at::randn({16, 8}, at::kBFloat16);
  product_sum(start, {{x, w}, {x, w}});
  EXPECT_TRUE(start.equal(before));
}

}  // namespace
}  // namespace spq::model
