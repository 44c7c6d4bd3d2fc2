// Start rotations, frames and quantization points.
#include <ATen/ops/eye.h>
#include <gtest/gtest.h>

#include "model/quant_point.h"
#include "model/rotation_start.h"
#include "tests/support/golden.h"

namespace spq::model {
namespace {

double orthogonality(const at::Tensor& rotation) {
  const at::Tensor r = rotation.to(at::kDouble);
  return test::max_error(r.mm(r.t()), at::eye(r.size(0), r.options()));
}

TEST(RotationStart, MatricesAreOrthogonalAtModelSizes) {
  for (int64_t n : {16, 64, 128, 352, 768, 1280}) {
    EXPECT_LE(orthogonality(random_hadamard(n, 1, 0)), 3e-7) << n;
    EXPECT_LE(orthogonality(random_orthogonal(n, 1, 0)), 3e-7) << n;
  }
  EXPECT_EQ(orthogonality(identity_rotation(7)), 0.0);
}

TEST(RotationStart, SeedAndStreamFixTheMatrixAndTellMatricesApart) {
  for (const auto make : {random_hadamard, random_orthogonal}) {
    EXPECT_TRUE(make(32, 5, 1).equal(make(32, 5, 1)));
    EXPECT_FALSE(make(32, 5, 1).equal(make(32, 5, 2)));
    EXPECT_FALSE(make(32, 5, 1).equal(make(32, 6, 1)));
  }
}

TEST(RotationStart, HadamardIsTheReferencesUpToItsSigns) {
  const test::TensorMap golden = test::golden("hadamard");
  for (int64_t n : {16, 64, 128}) {
    const std::string p = "rhm" + std::to_string(n);
    const at::Tensor unsigned_rows = golden.at(p + ".R").mul(golden.at(p + ".sign").unsqueeze(1));
    const at::Tensor mine = random_hadamard(n, 3, 0);
    const at::Tensor signs = mine.select(1, 0).sign().mul(unsigned_rows.select(1, 0).sign());
    EXPECT_LE(test::max_error(mine, unsigned_rows.mul(signs.unsqueeze(1))), 1e-7) << n;
    EXPECT_LT(signs.sum().abs().item<double>(), static_cast<double>(n));  // both signs occur
  }
}

TEST(Frame, LeaveUndoesEnterAndNoneChangesNothing) {
  const at::Tensor x = random_orthogonal(48, 1, 0);
  EXPECT_TRUE(Frame().enter(x).is_same(x));
  EXPECT_LE(
      test::max_error(Frame(kernels::plan_hadamard(48)).leave(Frame(kernels::plan_hadamard(48)).enter(x)), x),
      1e-6);
  const Frame dense(random_orthogonal(48, 2, 0));
  EXPECT_LE(test::max_error(dense.leave(dense.enter(x)), x), 1e-6);
  EXPECT_GT(test::max_error(dense.enter(x), x), 0.1);
}

TEST(QuantPoint, ErrorIsTheDifferenceAndUnquantizedPointsPassThrough) {
  const at::Tensor x = random_orthogonal(64, 1, 0).mul(2).view({32, 2, 64});
  const Frame frame(random_orthogonal(64, 2, 0));
  const PointResult off = quantize_point(x, frame, {});
  EXPECT_TRUE(off.x_hat.is_same(x));
  EXPECT_FALSE(off.error.defined());
  const at::Tensor before = x.clone();
  for (const Frame& f : {frame, Frame()}) {
    const PointResult on = quantize_point(x, f, {4, false, -1, true, 1.0});
    EXPECT_TRUE(x.equal(before)) << "the input must stay";
    EXPECT_LE(test::max_error(on.x_hat.sub(x), on.error), 1e-6);
    EXPECT_GT(on.error.norm().item<double>(), 0.01 * x.norm().item<double>());
  }
}

TEST(QuantPoint, Bf16ErrorStaysCloseToFp32) {
  const at::Tensor x = random_orthogonal(256, 1, 0).to(at::kBFloat16);
  const at::Tensor r = random_hadamard(256, 2, 0);
  const PointResult wide = quantize_point(x.to(at::kFloat), Frame(r), {8, false, -1, true, 1.0});
  const PointResult narrow = quantize_point(x, Frame(r.to(at::kBFloat16)), {8, false, -1, true, 1.0});
  EXPECT_LE(test::relative_error(narrow.x_hat, wide.x_hat), 8e-3);
}

TEST(AccumulateMoment, AddsGradientTimesErrorInFp32) {
  at::Tensor m = at::eye(8, at::kFloat);
  const at::Tensor g = random_orthogonal(16, 1, 0).view({32, 8}).to(at::kBFloat16);
  const at::Tensor e = random_orthogonal(16, 2, 0).view({16, 2, 8}).to(at::kBFloat16);
  accumulate_moment(m, g, e);
  const at::Tensor expected =
      g.to(at::kDouble).t().mm(e.to(at::kDouble).view({32, 8})).add(at::eye(8, at::kDouble));
  EXPECT_LE(test::max_error(m, expected), 1e-6);
  accumulate_moment(m, g, at::Tensor());
  EXPECT_LE(test::max_error(m, expected), 1e-6);
}

}  // namespace
}  // namespace spq::model
