// The block kernels on the host, at true sizes of 8B and 70B models and at awkward ones.
#include <gtest/gtest.h>

#include <functional>
#include <set>

#include "core/error.h"
#include "kernels/bfloat16.h"
#include "kernels/hadamard.h"
#include "tests/kernels/block_cases.h"

namespace spq::kernels::test {
namespace {

// Runs a comparison with the threads of a block in both orders: the bits must be the same.
void in_both_orders(const std::function<uint64_t(BlockDevice&)>& compare) {
  HostDevice forward(false), reversed(true);
  const uint64_t hash = compare(forward);
  EXPECT_EQ(compare(reversed), hash) << "the order of threads shows: a barrier is missing";
}

// Rows of the models (4096 and 14336: 8B; 8192 and 28672: 70B; 11008: LLaMA-2 7B), of heads (64, 128), and
// rows that fill neither packs nor blocks.
const std::vector<RowCase> kTrueSizes = {{2, 4096},  {2, 8192}, {2, 11008}, {2, 14336},
                                         {2, 28672}, {71, 128}, {71, 64}};
const std::vector<RowCase> kAwkward = {{3, 1},    {3, 7},    {5, 24},    {70, 33},   {3, 264}, {3, 1000},
                                       {2, 4099}, {2, 4104}, {1, 40000}, {1, 70000}, {3, 256}, {2, 1024}};

std::vector<RowCase> all_sizes() {
  std::vector<RowCase> cases = kTrueSizes;
  cases.insert(cases.end(), kAwkward.begin(), kAwkward.end());
  RowCase shifted{3, 128};
  shifted.offset = 1;
  cases.push_back(shifted);
  return cases;
}

TEST(BlockKernels, FakeQuantEqualsTheCpuKernelBitForBit) {
  for (const RowCase& sizes : all_sizes()) {
    for (const QuantSpec& spec : block_specs(sizes.cols)) {
      RowCase c = sizes;
      c.spec = spec;
      in_both_orders([&](BlockDevice& d) { return expect_fake_quant<float>(d, c); });
      in_both_orders([&](BlockDevice& d) { return expect_fake_quant<bfloat16>(d, c); });
    }
  }
}

TEST(BlockKernels, FakeQuantWorksInPlace) {
  HostDevice device;
  for (const RowCase& c : all_sizes()) {
    expect_fake_quant_in_place<float>(device, c);
    expect_fake_quant_in_place<bfloat16>(device, c);
  }
}

TEST(BlockKernels, RmsNormAndItsGradientAreWithinRounding) {
  for (const RowCase& c : all_sizes()) {
    in_both_orders([&](BlockDevice& d) { return expect_rms_norm<float>(d, c); });
    in_both_orders([&](BlockDevice& d) { return expect_rms_norm<bfloat16>(d, c); });
    in_both_orders([&](BlockDevice& d) { return expect_rms_norm_gradient<float>(d, c); });
    in_both_orders([&](BlockDevice& d) { return expect_rms_norm_gradient<bfloat16>(d, c); });
  }
}

TEST(BlockKernels, RmsNormQuantGivesTheCpuKernelsCodes) {
  for (const RowCase& sizes : all_sizes()) {
    for (const QuantSpec& spec : block_specs(sizes.cols)) {
      if (spec.bits == 8) continue;  // every second value lies next to an edge
      RowCase c = sizes;
      c.spec = spec;
      in_both_orders([&](BlockDevice& d) { return expect_rms_norm_quant<float>(d, c); });
      in_both_orders([&](BlockDevice& d) { return expect_rms_norm_quant<bfloat16>(d, c); });
    }
  }
}

// 12, 20, 40 .. 172: each factor; 28 with and without eight columns; 152 and 352: block-diagonal.
const std::vector<int64_t> kHadamardSizes = {
    1,   2,   4,   8,   12,  24,   28,   56,   64,   80,   128,  152,  160,   176,   224,   256,  288,
    352, 416, 480, 512, 864, 1120, 1248, 1376, 1792, 2048, 4096, 8192, 11008, 13824, 14336, 28672};

TEST(BlockKernels, HadamardEqualsTheTransformInDouble) {
  for (int64_t n : kHadamardSizes) {
    const RowCase c{n < 2048 ? 2048 / n + 3 : 2, n};
    in_both_orders([&](BlockDevice& d) { return expect_hadamard<float>(d, c); });
    in_both_orders([&](BlockDevice& d) { return expect_hadamard<bfloat16>(d, c); });
  }
  RowCase shifted{9, 224};
  shifted.offset = 1;
  in_both_orders([&](BlockDevice& d) { return expect_hadamard<bfloat16>(d, shifted); });
}

TEST(BlockKernels, HadamardQuantGivesTheCpuKernelsCodes) {
  for (int64_t n : {12, 28, 64, 128, 152, 224, 864, 1376, 2048, 11008, 14336, 28672}) {
    RowCase c{n < 2048 ? 2048 / n + 3 : 2, n};
    in_both_orders([&](BlockDevice& d) { return expect_hadamard_quant<float>(d, c); });
    in_both_orders([&](BlockDevice& d) { return expect_hadamard_quant<bfloat16>(d, c); });
    c.spec = {4, true, n % 32 == 0 ? 32 : n / 2, true, 0.9};
    in_both_orders([&](BlockDevice& d) { return expect_hadamard_quant<float>(d, c); });
    in_both_orders([&](BlockDevice& d) { return expect_hadamard_quant<bfloat16>(d, c); });
  }
}

TEST(BlockKernels, RopeIsWithinRoundingInBothDirections) {
  for (int64_t heads : {1, 8, 32, 64}) {
    for (int64_t head_dim : {2, 6, 64, 128}) {
      in_both_orders([&](BlockDevice& d) { return expect_rope<float>(d, 5, heads, head_dim); });
      in_both_orders([&](BlockDevice& d) { return expect_rope<bfloat16>(d, 5, heads, head_dim); });
    }
  }
  in_both_orders([&](BlockDevice& d) { return expect_rope<bfloat16>(d, 5, 8, 128, 1); });
}

TEST(BlockKernels, SwigluAndItsGradientAreWithinRounding) {
  for (int64_t n : {1, 7, 8, 9, 255, 4099, 14336, 28672}) {
    for (size_t offset : {0, 1}) {
      in_both_orders([&](BlockDevice& d) { return expect_swiglu<float>(d, n, offset); });
      in_both_orders([&](BlockDevice& d) { return expect_swiglu<bfloat16>(d, n, offset); });
    }
  }
}

TEST(BlockKernels, CrossEntropyIsWithinRoundingAtTheVocabulary) {
  for (const RowCase& c :
       {RowCase{2, 128256}, RowCase{3, 32000}, RowCase{4, 1001}, RowCase{4, 24}, RowCase{3, 2}}) {
    in_both_orders([&](BlockDevice& d) { return expect_cross_entropy<float>(d, c); });
    in_both_orders([&](BlockDevice& d) { return expect_cross_entropy<bfloat16>(d, c); });
  }
}

TEST(BlockKernels, NanAndInfinityStayInTheirRow) {
  for (bool reversed : {false, true}) {
    HostDevice device(reversed);
    for (int64_t cols : {28, 100, 128, 14336}) {
      expect_nan_stays_in_its_row<float>(device, cols);
      expect_nan_stays_in_its_row<bfloat16>(device, cols);
    }
  }
}

TEST(BlockKernels, NoRowsAreNoWork) {
  float* none = nullptr;
  blocks::fake_quant_rows<float>(BlockTarget::host(), none, none, none, 0, 128, {4, false, -1, true, 1.0});
  blocks::hadamard_quant_rows<float>(BlockTarget::host(), none, none, none, 0, plan_hadamard(128), {});
  blocks::swiglu<float>(BlockTarget::host(), none, none, none, 0);
}

std::string message_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

TEST(BlockKernels, ARowThatDoesNotFitSharedMemoryIsAnErrorWithBothNumbers) {
  std::vector<float> x(65536, 1.0f);
  const auto transform = [&] {
    blocks::hadamard_rows<float>(BlockTarget::host(), x.data(), x.data(), 1, plan_hadamard(65536),
                                 HadamardDirection::kForward);
  };
  EXPECT_EQ(message_of(transform),
            "hadamard_rows: a block needs 262144 bytes of shared memory, the device has 232448");
}

// The launch is refused before anything is read: by the build, by the driver, or for its shared memory.
TEST(BlockKernels, ACudaTargetThatCannotBeIsAnErrorThatNamesTheKernel) {
  std::vector<float> x(1, 1.0f);
  const std::string message = message_of([&] {
    blocks::hadamard_rows<float>(BlockTarget::cuda(nullptr), x.data(), x.data(), 1, plan_hadamard(65536),
                                 HadamardDirection::kForward);
  });
  EXPECT_EQ(message.rfind("hadamard_rows: ", 0), 0u) << message;
  EXPECT_EQ(message.find("built without CUDA") != std::string::npos, !built_with_cuda()) << message;
}

}  // namespace
}  // namespace spq::kernels::test
