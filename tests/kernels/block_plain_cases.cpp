// Kernels of block_cases.h that quantize nothing.
#include <algorithm>
#include <limits>

#include "kernels/cross_entropy.h"
#include "kernels/hadamard.h"
#include "kernels/rms_norm.h"
#include "kernels/rope.h"
#include "kernels/swiglu.h"
#include "tests/kernels/block_checks.h"

namespace spq::kernels::test {

template <class T>
uint64_t expect_rms_norm(BlockDevice& device, const RowCase& c) {
  const std::vector<T> x = noise<T>(c.rows * c.cols, 5);
  std::vector<double> expected = in_double(x);
  rms_norm(expected.data(), expected.data(), c.rows, c.cols, 1e-5);
  std::vector<T> cpu(x.size());
  rms_norm(x.data(), cpu.data(), c.rows, c.cols, 1e-5);
  OnDevice<T> input(device, x, c.offset), y(device, x, c.offset), in_place(device, x, c.offset);
  blocks::rms_norm<T>(device.target(), input.data(), y.data(), c.rows, c.cols, 1e-5);
  blocks::rms_norm<T>(device.target(), in_place.data(), in_place.data(), c.rows, c.cols, 1e-5);
  const std::string name = name_of(c, sizeof(T));
  expect_close(y.values(), expected, 10, 1e-30, name);
  expect_close(y.values(), in_double(cpu), 10, 1e-30, name);
  EXPECT_TRUE(same_bits(y.values(), in_place.values())) << name;
  return hash_bits(y.values());
}

template <class T>
uint64_t expect_rms_norm_gradient(BlockDevice& device, const RowCase& c) {
  const int64_t n = c.rows * c.cols;
  const std::vector<T> x = noise<T>(n, 6), dy = noise<T>(n, 7), start = noise<T>(n, 8);
  std::vector<double> expected = in_double(start);
  rms_norm_backward_add(in_double(x).data(), in_double(dy).data(), expected.data(), c.rows, c.cols, 1e-5);
  std::vector<T> cpu = start;
  rms_norm_backward_add(x.data(), dy.data(), cpu.data(), c.rows, c.cols, 1e-5);
  OnDevice<T> input(device, x, c.offset), gradient(device, dy, c.offset), dx(device, start, c.offset);
  blocks::rms_norm_backward_add<T>(device.target(), input.data(), gradient.data(), dx.data(), c.rows, c.cols,
                                   1e-5);
  expect_close(dx.values(), expected, 2, 1e-4, name_of(c, sizeof(T)));
  expect_close(dx.values(), in_double(cpu), 2, 1e-4, name_of(c, sizeof(T)));
  return hash_bits(dx.values());
}

template <class T>
uint64_t expect_hadamard(BlockDevice& device, const RowCase& c) {
  const HadamardPlan plan = plan_hadamard(c.cols);
  const std::vector<T> x = noise<T>(c.rows * c.cols, 9);
  uint64_t hash = 0;
  for (HadamardDirection direction : {HadamardDirection::kForward, HadamardDirection::kInverse}) {
    std::vector<double> expected = in_double(x);
    hadamard_rows(expected.data(), expected.data(), c.rows, plan, direction);
    double size = 0;
    for (double v : expected) size = std::max(size, std::abs(v));
    OnDevice<T> input(device, x, c.offset), y(device, x, c.offset), in_place(device, x, c.offset);
    blocks::hadamard_rows<T>(device.target(), input.data(), y.data(), c.rows, plan, direction);
    blocks::hadamard_rows<T>(device.target(), in_place.data(), in_place.data(), c.rows, plan, direction);
    expect_close(y.values(), expected, 1, 2e-6 * size, name_of(c, sizeof(T)));
    EXPECT_TRUE(same_bits(y.values(), in_place.values())) << name_of(c, sizeof(T));
    hash = hash * 31 + hash_bits(y.values());
  }
  return hash;
}

template <class T>
uint64_t expect_rope(BlockDevice& device, int64_t tokens, int64_t heads, int64_t head_dim, size_t offset) {
  const std::vector<T> x = noise<T>(tokens * heads * head_dim, 10);
  std::vector<float> cos, sin;
  for (int64_t i = 0; i < tokens * head_dim / 2; ++i) {
    cos.push_back(std::cos(0.37f * static_cast<float>(i)));
    sin.push_back(std::sin(0.37f * static_cast<float>(i)));
  }
  uint64_t hash = 0;
  for (RopeDirection direction : {RopeDirection::kForward, RopeDirection::kInverse}) {
    std::vector<double> expected = in_double(x);
    rope_rows<double, double>(expected.data(), in_double(cos).data(), in_double(sin).data(), tokens, heads,
                              head_dim, direction);
    std::vector<T> cpu = x;
    rope_rows<T, float>(cpu.data(), cos.data(), sin.data(), tokens, heads, head_dim, direction);
    OnDevice<T> y(device, x, offset);
    OnDevice<float> c(device, cos), s(device, sin);
    blocks::rope_rows<T>(device.target(), y.data(), c.data(), s.data(), tokens, heads, head_dim, direction);
    const std::string name = std::to_string(heads) + " heads of " + std::to_string(head_dim);
    expect_close(y.values(), expected, 1, 2e-5, name);  // values reach 150, and may cancel
    expect_close(y.values(), in_double(cpu), 2, 2e-5, name);
    hash = hash * 31 + hash_bits(y.values());
  }
  return hash;
}

template <class T>
uint64_t expect_swiglu(BlockDevice& device, int64_t n, size_t offset) {
  std::vector<T> gate = noise<T>(n, 11);
  const std::vector<T> up = noise<T>(n, 12), grad = noise<T>(n, 13);
  for (size_t i = 0; i < gate.size(); i += 7) gate[i] = static_cast<T>(number(gate[i]) > 0 ? 95.0f : -95.0f);
  std::vector<double> product(gate.size()), grad_gate(gate.size()), grad_up(gate.size());
  swiglu(in_double(gate).data(), in_double(up).data(), product.data(), n);
  swiglu_backward(in_double(gate).data(), in_double(up).data(), in_double(grad).data(), grad_gate.data(),
                  grad_up.data(), n);
  OnDevice<T> g(device, gate, offset), u(device, up, offset), y(device, grad, offset),
      dy(device, grad, offset);
  blocks::swiglu<T>(device.target(), g.data(), u.data(), y.data(), n);
  const std::string name = "swiglu of " + std::to_string(n);
  expect_close(y.values(), product, 10, 1e-35, name);
  OnDevice<T> dg(device, gate, offset), du(device, up, offset);
  blocks::swiglu_backward<T>(device.target(), g.data(), u.data(), dy.data(), dg.data(), du.data(), n);
  expect_close(du.values(), grad_up, 10, 1e-35, name);
  // sigma + silu (1 - sigma) may cancel: its error is that of its terms.
  const auto gate_tolerance = [&](size_t i) {
    const double v = number(gate[i]);
    const double terms = std::abs(number(grad[i]) * number(up[i])) * (1 + std::abs(v)) / (1 + std::exp(-v));
    return 10 * rounding<T>(grad_gate[i]) + 1e-6 * terms + 1e-35;
  };
  expect_within(dg.values(), grad_gate, gate_tolerance, name);
  OnDevice<T> product_in_gate(device, gate, offset), gate_in_place(device, gate, offset),
      up_in_place(device, up, offset);
  blocks::swiglu<T>(device.target(), product_in_gate.data(), u.data(), product_in_gate.data(), n);
  EXPECT_TRUE(same_bits(product_in_gate.values(), y.values()));
  blocks::swiglu_backward<T>(device.target(), gate_in_place.data(), up_in_place.data(), dy.data(),
                             gate_in_place.data(), up_in_place.data(), n);
  EXPECT_TRUE(same_bits(gate_in_place.values(), dg.values()));
  EXPECT_TRUE(same_bits(up_in_place.values(), du.values()));
  return hash_bits(y.values(), hash_bits(dg.values(), hash_bits(du.values())));
}

template <class T>
uint64_t expect_cross_entropy(BlockDevice& device, const RowCase& c) {
  std::vector<T> logits = noise<T>(c.rows * c.cols, 14);
  for (size_t i = 3; i < logits.size(); i += 11) {  // masked ones
    logits[i] = static_cast<T>(-std::numeric_limits<float>::infinity());
  }
  std::vector<int64_t> targets;
  for (int64_t r = 0; r < c.rows; ++r) targets.push_back((r * 7919 + 1) % c.cols);
  for (int64_t r = 0; r < c.rows; ++r)
    logits[static_cast<size_t>(r * c.cols + targets[static_cast<size_t>(r)])] = T(1);
  std::vector<double> gradient = in_double(logits), losses(targets.size());
  cross_entropy_rows(gradient.data(), targets.data(), losses.data(), c.rows, c.cols, 0.25);
  OnDevice<T> x(device, logits, c.offset), untouched(device, logits, c.offset);
  OnDevice<int64_t> t(device, targets);
  OnDevice<double> found(device, std::vector<double>(losses.size(), -1.0)), alone(device, losses);
  blocks::cross_entropy_rows<T>(device.target(), untouched.data(), t.data(), alone.data(), c.rows, c.cols,
                                0.0);
  blocks::cross_entropy_rows<T>(device.target(), x.data(), t.data(), found.data(), c.rows, c.cols, 0.25);
  const std::string name = name_of(c, sizeof(T));
  for (size_t r = 0; r < losses.size(); ++r) {
    EXPECT_NEAR(found.values()[r], losses[r], 1e-6 * (1 + std::abs(losses[r]))) << name;
  }
  EXPECT_EQ(found.values(), alone.values()) << name;
  EXPECT_TRUE(same_bits(untouched.values(), logits)) << name;
  expect_close(x.values(), gradient, 30, 1e-12, name);
  return hash_bits(x.values(), hash_bits(found.values()));
}

#define SPQ_INSTANTIATE(T)                                                           \
  template uint64_t expect_rms_norm<T>(BlockDevice&, const RowCase&);                \
  template uint64_t expect_rms_norm_gradient<T>(BlockDevice&, const RowCase&);       \
  template uint64_t expect_hadamard<T>(BlockDevice&, const RowCase&);                \
  template uint64_t expect_rope<T>(BlockDevice&, int64_t, int64_t, int64_t, size_t); \
  template uint64_t expect_swiglu<T>(BlockDevice&, int64_t, size_t);                 \
  template uint64_t expect_cross_entropy<T>(BlockDevice&, const RowCase&)

SPQ_INSTANTIATE(float);
SPQ_INSTANTIATE(bfloat16);
#undef SPQ_INSTANTIATE

}  // namespace spq::kernels::test
