// Quantizing kernels of block_cases.h.
#include <algorithm>

#include "kernels/hadamard.h"
#include "kernels/rms_norm.h"
#include "tests/kernels/block_checks.h"

namespace spq::kernels::test {
namespace {

int64_t group_of(const RowCase& c) {
  return c.spec.group_size > 0 ? c.spec.group_size : c.cols;
}

// Range of values in double, as the definition of fake_quant.h says.
QuantRange<double> range_of(const double* x, int64_t n, const QuantSpec& spec) {
  return find_range<double, double>(x, n, spec);
}

template <class T>
void expect_definition(const RowCase& c, const std::vector<T>& x, const std::vector<T>& error) {
  const std::vector<double> wide = in_double(x);
  const int64_t length = group_of(c);
  const std::string name = name_of(c, sizeof(T));
  for (int64_t begin = 0; begin < c.rows * c.cols; begin += length) {
    const QuantRange<double> r = range_of(wide.data() + begin, length, c.spec);
    for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(begin + length); ++i) {
      if (on_edge(wide[i], r.scale, 1e-4)) continue;
      const double code = std::clamp(std::nearbyint(wide[i] / r.scale) + r.zero, r.code_min, r.code_max);
      const double hat = r.scale * (code - r.zero);
      const double expected = hat - wide[i];
      // A zero point of fp32 may differ where -min / scale lies on an edge: then by one code at the ends.
      const double tolerance =
          rounding<T>(expected) + rounding<T>(hat) + 4e-7 * (std::abs(wide[i]) + 16 * r.scale);
      ASSERT_NEAR(number(error[i]), expected, tolerance) << name << " at " << i;
    }
  }
}

}  // namespace

std::vector<QuantSpec> block_specs(int64_t cols) {
  std::vector<QuantSpec> specs;
  for (int bits : {2, 4, 8}) {
    for (bool symmetric : {true, false}) {
      specs.push_back({bits, symmetric, -1, true, symmetric ? 1.0 : 0.85});
      if (cols % 24 == 0) specs.push_back({bits, symmetric, 24, false, 1.0});
      if (cols % 128 == 0) specs.push_back({bits, symmetric, 128, true, 1.0});
    }
  }
  return specs;
}

template <class T>
uint64_t expect_fake_quant(BlockDevice& device, const RowCase& c) {
  const std::vector<T> x = noise<T>(c.rows * c.cols, 1);
  OnDevice<T> input(device, x, c.offset), x_hat(device, x, c.offset), error(device, x, c.offset);
  blocks::fake_quant_rows<T>(device.target(), input.data(), x_hat.data(), error.data(), c.rows, c.cols,
                             c.spec);
  std::vector<T> expected_hat(x.size()), expected_error(x.size());
  fake_quant_rows<T>(x.data(), expected_hat.data(), expected_error.data(), c.rows, c.cols, c.spec);
  EXPECT_TRUE(same_bits(x_hat.values(), expected_hat)) << name_of(c, sizeof(T));
  EXPECT_TRUE(same_bits(error.values(), expected_error)) << name_of(c, sizeof(T));
  expect_definition(c, x, error.values());
  return hash_bits(x_hat.values(), hash_bits(error.values()));
}

template <class T>
void expect_fake_quant_in_place(BlockDevice& device, const RowCase& c) {
  const std::vector<T> x = noise<T>(c.rows * c.cols, 2);
  std::vector<T> expected_hat(x.size()), expected_error(x.size());
  fake_quant_rows<T>(x.data(), expected_hat.data(), expected_error.data(), c.rows, c.cols, c.spec);
  OnDevice<T> as_hat(device, x, c.offset), as_error(device, x, c.offset), hat(device, x, c.offset);
  T* none = nullptr;
  blocks::fake_quant_rows<T>(device.target(), as_hat.data(), as_hat.data(), none, c.rows, c.cols, c.spec);
  EXPECT_TRUE(same_bits(as_hat.values(), expected_hat)) << name_of(c, sizeof(T));
  blocks::fake_quant_rows<T>(device.target(), as_error.data(), hat.data(), as_error.data(), c.rows, c.cols,
                             c.spec);
  EXPECT_TRUE(same_bits(as_error.values(), expected_error)) << name_of(c, sizeof(T));
  EXPECT_TRUE(same_bits(hat.values(), expected_hat)) << name_of(c, sizeof(T));
}

template <class T>
uint64_t expect_rms_norm_quant(BlockDevice& device, const RowCase& c) {
  const std::vector<T> x = noise<T>(c.rows * c.cols, 3);
  std::vector<T> normed(x.size()), cpu_hat(x.size()), cpu_error(x.size());
  rms_norm(x.data(), normed.data(), c.rows, c.cols, 1e-5);
  rms_norm_quant(x.data(), cpu_hat.data(), cpu_error.data(), c.rows, c.cols, 1e-5, c.spec);
  OnDevice<T> input(device, x, c.offset), x_hat(device, x, c.offset), error(device, x, c.offset);
  blocks::rms_norm_quant<T>(device.target(), input.data(), x_hat.data(), error.data(), c.rows, c.cols, 1e-5,
                            c.spec);
  const std::vector<T> hat = x_hat.values();
  const std::vector<double> wide = in_double(normed);
  const int64_t length = group_of(c);
  int64_t differing = 0;
  for (int64_t begin = 0; begin < c.rows * c.cols; begin += length) {
    const double scale = range_of(wide.data() + begin, length, c.spec).scale;
    for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(begin + length); ++i) {
      const double difference = std::abs(number(hat[i]) - number(cpu_hat[i]));
      differing += difference > 0.5 * scale ? 1 : 0;
      // The sum of squares may differ in its last bits, so a value next to an edge may get the next code.
      const double allowed = on_edge(wide[i], scale, sizeof(T) == 2 ? 0.1 : 1e-3) ? 1.01 * scale : 0;
      EXPECT_LE(difference, allowed + 4 * rounding<T>(std::abs(wide[i]) + scale)) << name_of(c, sizeof(T));
    }
  }
  EXPECT_LE(differing, 1 + c.rows * c.cols / 1000) << name_of(c, sizeof(T));
  OnDevice<T> hat_alone(device, x, c.offset), error_alone(device, x, c.offset);
  T* none = nullptr;
  blocks::rms_norm_quant<T>(device.target(), input.data(), hat_alone.data(), none, c.rows, c.cols, 1e-5,
                            c.spec);
  blocks::rms_norm_quant<T>(device.target(), input.data(), none, error_alone.data(), c.rows, c.cols, 1e-5,
                            c.spec);
  EXPECT_TRUE(same_bits(hat_alone.values(), hat)) << name_of(c, sizeof(T));
  EXPECT_TRUE(same_bits(error_alone.values(), error.values())) << name_of(c, sizeof(T));
  return hash_bits(hat, hash_bits(error.values()));
}

namespace {

// Both errors seen through H: they differ by nothing, or by one code where the value lies on an edge.
template <class T>
void expect_same_codes(const RowCase& c, const std::vector<T>& x, const std::vector<T>& found,
                       const std::vector<T>& expected) {
  const HadamardPlan plan = plan_hadamard(c.cols);
  std::vector<double> rotated = in_double(x), difference(x.size());
  for (size_t i = 0; i < x.size(); ++i) difference[i] = number(found[i]) - number(expected[i]);
  hadamard_rows(rotated.data(), rotated.data(), c.rows, plan, HadamardDirection::kForward);
  hadamard_rows(difference.data(), difference.data(), c.rows, plan, HadamardDirection::kForward);
  const int64_t length = group_of(c);
  int64_t differing = 0;
  for (int64_t begin = 0; begin < c.rows * c.cols; begin += length) {
    const double scale = range_of(rotated.data() + begin, length, c.spec).scale;
    for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(begin + length); ++i) {
      const double codes = std::abs(difference[i]) / scale;
      if (codes < 0.1) continue;
      ++differing;
      EXPECT_TRUE(on_edge(rotated[i], scale, 2e-3)) << name_of(c, sizeof(T)) << " at " << i;
      EXPECT_NEAR(codes, 1.0, 0.1) << name_of(c, sizeof(T)) << " at " << i;
    }
  }
  EXPECT_LE(differing, 1 + c.rows * c.cols / 1000) << name_of(c, sizeof(T));
}

}  // namespace

template <class T>
uint64_t expect_hadamard_quant(BlockDevice& device, const RowCase& c) {
  const HadamardPlan plan = plan_hadamard(c.cols);
  const std::vector<T> x = noise<T>(c.rows * c.cols, 4);
  std::vector<T> cpu_error(x.size());
  hadamard_quant_rows<T>(x.data(), nullptr, cpu_error.data(), c.rows, plan, c.spec);
  OnDevice<T> input(device, x, c.offset), x_hat(device, x, c.offset), error(device, x, c.offset);
  blocks::hadamard_quant_rows<T>(device.target(), input.data(), x_hat.data(), error.data(), c.rows, plan,
                                 c.spec);
  expect_same_codes(c, x, error.values(), cpu_error);
  expect_hat_is_sum(x, x_hat.values(), error.values(), name_of(c, sizeof(T)));
  OnDevice<T> in_place(device, x, c.offset), error_alone(device, x, c.offset);
  T* none = nullptr;
  blocks::hadamard_quant_rows<T>(device.target(), in_place.data(), in_place.data(), none, c.rows, plan,
                                 c.spec);
  blocks::hadamard_quant_rows<T>(device.target(), input.data(), none, error_alone.data(), c.rows, plan,
                                 c.spec);
  EXPECT_TRUE(same_bits(in_place.values(), x_hat.values())) << name_of(c, sizeof(T));
  EXPECT_TRUE(same_bits(error_alone.values(), error.values())) << name_of(c, sizeof(T));
  return hash_bits(x_hat.values(), hash_bits(error.values()));
}

template uint64_t expect_fake_quant<float>(BlockDevice&, const RowCase&);
template uint64_t expect_fake_quant<bfloat16>(BlockDevice&, const RowCase&);
template void expect_fake_quant_in_place<float>(BlockDevice&, const RowCase&);
template void expect_fake_quant_in_place<bfloat16>(BlockDevice&, const RowCase&);
template uint64_t expect_rms_norm_quant<float>(BlockDevice&, const RowCase&);
template uint64_t expect_rms_norm_quant<bfloat16>(BlockDevice&, const RowCase&);
template uint64_t expect_hadamard_quant<float>(BlockDevice&, const RowCase&);
template uint64_t expect_hadamard_quant<bfloat16>(BlockDevice&, const RowCase&);

}  // namespace spq::kernels::test
