#include "model/bf16_product.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/randn.h>
#include <gtest/gtest.h>

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
TEST(Bf16Product, IsSummedInFp32) {
  for (const auto& [rows, depth, columns] : kShapes) {
    const at::Tensor a = random_bf16(rows, depth), b = random_bf16(depth, columns);
    const at::Tensor product = bf16_product(a, b);
    ASSERT_EQ(product.defined(), multiplies_bf16());
    if (!multiplies_bf16()) GTEST_SKIP() << "no native bf16 products here";
    EXPECT_EQ(product.scalar_type(), at::kFloat);
    const at::Tensor expected = a.to(at::kDouble).mm(b.to(at::kDouble));
    EXPECT_LE(test::relative_error(product, expected), 5e-6) << depth;
    const at::Tensor by_columns = a.t().contiguous().t();  // as it lies in memory
    EXPECT_LE(test::relative_error(bf16_product(by_columns, b), expected), 5e-6) << depth;
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
  EXPECT_FALSE(bf16_product(a, a).defined());
  EXPECT_FALSE(bf16_product(a, a.to(at::kBFloat16)).defined());
  EXPECT_FALSE(add_bf16_product(m, a, a));
  EXPECT_TRUE(m.equal(a));
}

}  // namespace
}  // namespace spq::model
