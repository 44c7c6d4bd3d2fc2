// NaN and infinity in rows, for block_cases.h.
#include <cmath>
#include <functional>
#include <limits>

#include "tests/kernels/block_checks.h"

namespace spq::kernels::test {
namespace {

constexpr int64_t kRows = 3;
constexpr QuantSpec kSpec{4, false, -1, true, 1.0};

// Runs `kernel` on rows of noise, with and without `bad` in the middle of the second one: the first and the
// third keep their bits, the second has NaN at that place, everywhere if `whole`.
template <class T>
void expect_only_second_row(BlockDevice& device, int64_t cols, float bad, bool whole,
                            const std::function<void(OnDevice<T>&)>& kernel, const char* name) {
  const std::vector<T> clean = noise<T>(kRows * cols, 15);
  const auto place = static_cast<size_t>(cols + cols / 2);
  std::vector<T> dirty = clean;
  dirty[place] = static_cast<T>(bad);
  OnDevice<T> from_clean(device, clean), from_dirty(device, dirty);
  kernel(from_clean);
  kernel(from_dirty);
  const std::vector<T> expected = from_clean.values(), found = from_dirty.values();
  EXPECT_TRUE(std::isnan(number(found[place]))) << name << " " << bad;
  for (size_t i = 0; i < found.size(); ++i) {
    const bool second = static_cast<int64_t>(i) / cols == 1;
    if (!second) {
      ASSERT_EQ(number(found[i]), number(expected[i])) << name << " " << bad << " at " << i;
    } else if (whole) {
      ASSERT_TRUE(std::isnan(number(found[i]))) << name << " " << bad << " at " << i;
    }
  }
}

template <class T>
void expect_losses(BlockDevice& device, int64_t cols) {
  for (float bad : {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::quiet_NaN(),
                    std::numeric_limits<float>::infinity()}) {
    std::vector<T> logits = noise<T>(2 * cols, 16);
    logits[static_cast<size_t>(cols / 2)] = static_cast<T>(bad);
    OnDevice<T> x(device, logits);
    OnDevice<int64_t> targets(device, {0, 1});
    OnDevice<double> losses(device, {0.0, 0.0});
    blocks::cross_entropy_rows<T>(device.target(), x.data(), targets.data(), losses.data(), 2, cols, 0.0);
    EXPECT_TRUE(std::isnan(losses.values()[0])) << bad;
    EXPECT_TRUE(std::isfinite(losses.values()[1])) << bad;
  }
  OnDevice<T> nothing(device, std::vector<T>(static_cast<size_t>(cols),
                                             static_cast<T>(-std::numeric_limits<float>::infinity())));
  OnDevice<int64_t> target(device, {0});
  OnDevice<double> loss(device, {0.0});
  blocks::cross_entropy_rows<T>(device.target(), nothing.data(), target.data(), loss.data(), 1, cols, 0.0);
  EXPECT_TRUE(std::isnan(loss.values()[0]));
}

}  // namespace

template <class T>
void expect_nan_stays_in_its_row(BlockDevice& device, int64_t cols) {
  const BlockTarget target = device.target();
  T* none = nullptr;
  const HadamardPlan plan = plan_hadamard(cols);
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  for (float bad : {std::numeric_limits<float>::quiet_NaN(), kInfinity, -kInfinity}) {
    const bool infinite = std::isinf(bad);
    expect_only_second_row<T>(
        device, cols, bad, true,
        [&](OnDevice<T>& x) {
          blocks::fake_quant_rows<T>(target, x.data(), x.data(), none, kRows, cols, kSpec);
        },
        "fake_quant_rows");
    expect_only_second_row<T>(
        device, cols, bad, true,
        [&](OnDevice<T>& x) {
          blocks::fake_quant_rows<T>(target, x.data(), none, x.data(), kRows, cols, kSpec);
        },
        "fake_quant_rows, error");
    expect_only_second_row<T>(
        device, cols, bad, !infinite,
        [&](OnDevice<T>& x) { blocks::rms_norm<T>(target, x.data(), x.data(), kRows, cols, 1e-5); },
        "rms_norm");
    expect_only_second_row<T>(
        device, cols, bad, true,
        [&](OnDevice<T>& x) {
          blocks::rms_norm_quant<T>(target, x.data(), x.data(), none, kRows, cols, 1e-5, kSpec);
        },
        "rms_norm_quant");
    expect_only_second_row<T>(
        device, cols, bad, plan.block == plan.n,
        [&](OnDevice<T>& x) {
          blocks::hadamard_quant_rows<T>(target, x.data(), x.data(), none, kRows, plan, kSpec);
        },
        "hadamard_quant_rows");
  }
  expect_losses<T>(device, cols);
}

template void expect_nan_stays_in_its_row<float>(BlockDevice&, int64_t);
template void expect_nan_stays_in_its_row<bfloat16>(BlockDevice&, int64_t);

}  // namespace spq::kernels::test
