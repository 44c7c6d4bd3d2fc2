// What every level of x86-64 computes, as far as this machine can run them.
#include "kernels/isa.h"

#include <gtest/gtest.h>

#include <vector>

#include "kernels/quant_row.h"
#include "tests/kernels/values.h"

namespace spq::kernels {
namespace {

template <class T>
std::vector<T> error_on(Isa isa, const std::vector<T>& x, const QuantSpec& spec) {
  using A = Accumulate<T>;
  const auto n = static_cast<int64_t>(x.size());
  std::vector<T> error(x.size());
  const T* in = x.data();
  T* out = error.data();
  run_on(isa, [&] {
    const QuantRange<A> range = range_between(min_max<T, A>(in, n), spec);
    quant_group<false, true>(in, AsItIs<T>(), static_cast<T*>(nullptr), out, n, range);
  });
  return error;
}

template <class T>
void expect_same_bits_everywhere() {
  for (bool symmetric : {true, false}) {
    const QuantSpec spec{4, symmetric, -1, true, 0.9};
    const std::vector<T> x = test::noise<T>(4099, 11);
    const std::vector<T> baseline = error_on(Isa::kBaseline, x, spec);
    for (Isa isa : {Isa::kAvx2, Isa::kAvx512}) {
      if (isa > best_isa()) continue;
      EXPECT_TRUE(test::same_bits(error_on(isa, x, spec), baseline)) << static_cast<int>(isa);
    }
  }
}

TEST(Isa, QuantizationGivesTheSameBitsOnEveryLevel) {
  expect_same_bits_everywhere<float>();
  expect_same_bits_everywhere<bfloat16>();
  expect_same_bits_everywhere<double>();
}

TEST(Isa, BodyRunsExactlyOnceOnTheBestLevel) {
  int runs = 0;
  run_vectorised([&] { ++runs; });
  EXPECT_EQ(runs, 1);
}

}  // namespace
}  // namespace spq::kernels
