// The network on a GPU against the CPU. Skipped where no GPU can be had.
#include <gtest/gtest.h>

#include <string>

#include "dist/single_communicator.h"
#include "model/attention.h"
#include "model/bf16_product.h"
#include "model/quant_config.h"
#include "model/sharded_device.h"
#include "tests/model/layer_run.h"

namespace spq::model {
namespace {

using test::kLength;
using test::LayerRun;
using test::random;
using test::run_layer;
using test::StepProblem;

class GpuModel : public testing::TestWithParam<at::ScalarType> {
 protected:
  void SetUp() override {
    if (!run_.is_gpu()) GTEST_SKIP() << "no GPU: " << run_.describe();
  }

  // Relative, in the Frobenius norm. Sums are taken in another order; in bf16 values are rounded after them.
  double tolerance() const { return GetParam() == at::kFloat ? 1e-4 : 3e-2; }
  void expect_near(const at::Tensor& found, const at::Tensor& expected) const {
    EXPECT_TRUE(found.is_cuda());
    EXPECT_LE(test::relative_error(found.cpu(), expected), tolerance());
  }
  void expect_equal_layers(const QuantScheme& scheme) {
    StepProblem cpu(host_, "gqa4", GetParam());
    StepProblem gpu(run_.connect(60), "gqa4", GetParam(), run_.device());
    cpu.network.scheme = gpu.network.scheme = scheme;
    const auto frames = [](const StepProblem& p) {
      return NetworkFrames(p.network.config, p.state.rotations, {}, GetParam()).layer(0);
    };
    const LayerFrames cpu_frames = frames(cpu), gpu_frames = frames(gpu);
    const double error = test::median_error([&](uint64_t seed) {
      const LayerRun found = run_layer(gpu, gpu_frames, GetParam(), seed);
      EXPECT_TRUE(found.out.is_cuda() && found.r1.is_cuda());
      return test::largest_error(found, run_layer(cpu, cpu_frames, GetParam(), seed));
    });
    EXPECT_LE(error, tolerance());
  }
  static QuantScheme four_bits() {
    QuantConfig quant;
    quant.activation.bits = quant.key.bits = quant.value.bits = 4;
    return quant_scheme(quant);
  }

  dist::SingleCommunicator host_;
  RunDevice run_{host_, ComputeDevice::kAuto};
};

TEST_P(GpuModel, QuantizedLayerBehindAllRotationsIsThatOfTheCpu) {
  expect_equal_layers(four_bits());
}

// Eight bits: a code that rounds the other way is hardly seen, so that the tolerance says more.
TEST_P(GpuModel, FinelyQuantizedLayerIsThatOfTheCpu) {
  QuantScheme scheme = four_bits();
  for (kernels::QuantSpec* spec :
       {&scheme.residual_input, &scheme.attention_output, &scheme.key, &scheme.value, &scheme.down_input}) {
    spec->bits = 8;
  }
  expect_equal_layers(scheme);
}

// 8 query heads on 2 key/value heads of 128, a length that fills no block of any kernel.
TEST_P(GpuModel, AttentionWithGroupedHeadsIsThatOfTheCpuAndRepeatsItsBits) {
  const AttentionShape shape{2, 203, 8, 2, 128};
  const auto rows = [&](int64_t heads, uint64_t seed, c10::Device device) {
    return random({shape.batch * shape.length, heads, shape.head_dim}, GetParam(), seed, device);
  };
  const auto run = [&](c10::Device device) {
    const at::Tensor q = rows(8, 1, device), k = rows(2, 2, device), v = rows(2, 3, device);
    AttentionResult forward = attention(q, k, v, shape);
    const at::Tensor grad = rows(8, 4, device).view({shape.batch * shape.length, -1});
    return std::pair(forward.out, attention_backward(grad, q, k, v, forward, shape));
  };
  const auto [expected, expected_grad] = run(at::kCPU);
  const auto [found, grad] = run(run_.device());
  const auto [again, grad_again] = run(run_.device());
  expect_near(found, expected);
  expect_near(grad.q, expected_grad.q);
  expect_near(grad.k, expected_grad.k);
  expect_near(grad.v, expected_grad.v);
  EXPECT_TRUE(again.equal(found));
  EXPECT_TRUE(grad_again.q.equal(grad.q) && grad_again.k.equal(grad.k) && grad_again.v.equal(grad.v));
}

// fp32 sums: a product that rounds its sums to bf16 is off by 2e-3, one in TF32 by 3e-4.
TEST_P(GpuModel, ProductsAreSummedInFp32) {
  const at::Tensor a = random({2048, 256}, GetParam(), 1), b = random({2048, 256}, GetParam(), 2);
  const at::Tensor expected = a.to(at::kDouble).t().mm(b.to(at::kDouble));
  at::Tensor m = random({256, 256}, at::kFloat, 3, run_.device()).zero_();
  const at::Tensor a_gpu = a.to(run_.device()), b_gpu = b.to(run_.device());
  if (!add_bf16_product(m, a_gpu, b_gpu)) {
    ASSERT_EQ(GetParam(), at::kFloat);
    m.addmm_(a_gpu.t(), b_gpu);
  }
  EXPECT_LE(test::relative_error(m.cpu(), expected), 1e-6);
}

INSTANTIATE_TEST_SUITE_P(Dtypes, GpuModel, testing::Values(at::kFloat, at::kBFloat16),
                         [](const auto& dtype) { return std::string(c10::toString(dtype.param)); });

}  // namespace
}  // namespace spq::model
