// The block kernels on a GPU at true sizes of 8B and 70B models with many rows: the comparisons of
// tests/kernels.
#include <gtest/gtest.h>

#include "core/error.h"
#include "kernels/bfloat16.h"
#include "kernels/hadamard.h"
#include "tests/gpu/cuda_device.h"
#include "tests/gpu/require_gpu.h"
#include "tests/kernels/block_cases.h"

namespace spq::kernels::test {
namespace {

class GpuKernels : public ::testing::Test {
 protected:
  void SetUp() override {
    SPQ_REQUIRE_GPU();
    device_ = spq::test::make_cuda_device();
  }
  BlockDevice& device() { return *device_; }

 private:
  std::unique_ptr<BlockDevice> device_;
};

// 2048 tokens of 8B and 70B models, their heads, LLaMA-2 7B, and rows that fill neither packs nor blocks.
const std::vector<RowCase> kSizes = {{2048, 4096}, {2048, 8192}, {512, 11008}, {1024, 14336}, {512, 28672},
                                     {65536, 128}, {16384, 64},  {300, 4099},  {3, 70000},    {5000, 33}};

TEST_F(GpuKernels, FakeQuantEqualsTheCpuKernelBitForBit) {
  for (RowCase c : kSizes) {
    expect_fake_quant<float>(device(), c);
    expect_fake_quant<bfloat16>(device(), c);
    expect_fake_quant_in_place<bfloat16>(device(), c);
    for (const QuantSpec& spec : block_specs(c.cols)) {
      c.rows = 64;
      c.spec = spec;
      expect_fake_quant<float>(device(), c);
      expect_fake_quant<bfloat16>(device(), c);
    }
  }
}

TEST_F(GpuKernels, RmsNormQuantGivesTheCpuKernelsCodes) {
  for (RowCase c : kSizes) {
    expect_rms_norm_quant<float>(device(), c);
    expect_rms_norm_quant<bfloat16>(device(), c);
    if (c.cols % 128 != 0) continue;
    c.spec = {4, true, 128, true, 1.0};
    expect_rms_norm_quant<bfloat16>(device(), c);
  }
}

TEST_F(GpuKernels, RmsNormAndItsGradientAreWithinRounding) {
  for (const RowCase& c : kSizes) {
    expect_rms_norm<float>(device(), c);
    expect_rms_norm<bfloat16>(device(), c);
    expect_rms_norm_gradient<float>(device(), c);
    expect_rms_norm_gradient<bfloat16>(device(), c);
  }
}

TEST_F(GpuKernels, HadamardEqualsTheTransformInDouble) {
  for (const RowCase& c : {RowCase{65536, 128}, RowCase{16384, 64}, RowCase{64, 11008}, RowCase{64, 13824},
                           RowCase{256, 14336}, RowCase{128, 28672}, RowCase{333, 152}, RowCase{100, 172}}) {
    expect_hadamard<float>(device(), c);
    expect_hadamard<bfloat16>(device(), c);
  }
}

TEST_F(GpuKernels, HadamardQuantGivesTheCpuKernelsCodes) {
  for (RowCase c : {RowCase{65536, 128}, RowCase{16384, 64}, RowCase{64, 11008}, RowCase{256, 14336},
                    RowCase{128, 28672}, RowCase{333, 152}}) {
    expect_hadamard_quant<float>(device(), c);
    expect_hadamard_quant<bfloat16>(device(), c);
    if (c.cols % 32 != 0) continue;
    c.spec = {4, true, 32, true, 0.9};
    expect_hadamard_quant<bfloat16>(device(), c);
  }
}

TEST_F(GpuKernels, RopeAndSwigluAreWithinRounding) {
  expect_rope<bfloat16>(device(), 2048, 32, 128);
  expect_rope<float>(device(), 512, 64, 128);
  expect_rope<bfloat16>(device(), 5, 3, 6);
  expect_swiglu<bfloat16>(device(), 1024 * 14336 + 3);
  expect_swiglu<float>(device(), 256 * 28672 + 1, 1);
}

TEST_F(GpuKernels, CrossEntropyIsWithinRoundingAtTheVocabulary) {
  for (const RowCase& c : {RowCase{64, 128256}, RowCase{64, 32000}, RowCase{40, 1001}}) {
    expect_cross_entropy<float>(device(), c);
    expect_cross_entropy<bfloat16>(device(), c);
  }
}

TEST_F(GpuKernels, NanAndInfinityStayInTheirRow) {
  for (int64_t cols : {28, 100, 128, 14336}) {
    expect_nan_stays_in_its_row<float>(device(), cols);
    expect_nan_stays_in_its_row<bfloat16>(device(), cols);
  }
}

TEST_F(GpuKernels, TheSameBitsComeOutEveryTimeAndOnTheHost) {
  HostDevice host;
  const RowCase c{64, 14336};
  const uint64_t norm = expect_rms_norm_quant<bfloat16>(device(), c);
  EXPECT_EQ(expect_rms_norm_quant<bfloat16>(device(), c), norm);
  EXPECT_EQ(expect_rms_norm_quant<bfloat16>(host, c), norm)
      << "sums are taken in another order than on the host";
  const uint64_t point = expect_hadamard_quant<bfloat16>(device(), c);
  EXPECT_EQ(expect_hadamard_quant<bfloat16>(device(), c), point);
  EXPECT_EQ(expect_hadamard_quant<bfloat16>(host, c), point)
      << "sums are taken in another order than on the host";
}

// More than 2^31 values: 3 GB of bf16, in place.
TEST_F(GpuKernels, RowsBeyondTwoToTheThirtyOneValuesAreReached) {
  const int64_t cols = 4096, rows = (int64_t{1} << 31) / cols + 2;
  const size_t bytes = static_cast<size_t>(rows * cols) * sizeof(bfloat16);
  auto* x = static_cast<bfloat16*>(device().allocate(bytes));
  const std::vector<bfloat16> last(static_cast<size_t>(cols), bfloat16(3.0f));
  device().copy_in(x + (rows - 1) * cols, last.data(), last.size() * sizeof(bfloat16));
  blocks::rms_norm<bfloat16>(device().target(), x, x, rows, cols, 1e-5);
  std::vector<bfloat16> found(last.size());
  device().copy_out(found.data(), x + (rows - 1) * cols, found.size() * sizeof(bfloat16));
  device().release(x);
  for (bfloat16 v : found) ASSERT_EQ(static_cast<float>(v), 1.0f);
}

TEST_F(GpuKernels, ARowThatDoesNotFitSharedMemoryIsAnError) {
  OnDevice<float> x(device(), std::vector<float>(65536, 1.0f));
  EXPECT_THROW(blocks::hadamard_rows<float>(device().target(), x.data(), x.data(), 1, plan_hadamard(65536),
                                            HadamardDirection::kForward),
               Error);
}

}  // namespace
}  // namespace spq::kernels::test
