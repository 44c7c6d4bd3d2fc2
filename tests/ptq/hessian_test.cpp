#include "ptq/hessian.h"

#include <ATen/ops/eye.h>
#include <ATen/ops/linalg_inv.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <vector>

#include "core/error.h"
#include "dist/single_communicator.h"
#include "dist/thread_communicator.h"
#include "tests/ptq/problem.h"
#include "tests/support/golden.h"

namespace spq::ptq {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

TEST(MomentAccumulator, EqualsTheReferenceForOneSampleAndForFour) {
  const test::TensorMap golden = test::golden("gptaq");
  dist::SingleCommunicator comm;
  for (int64_t batches : {1, 4}) {
    MomentAccumulator accumulator(96, true, at::kFloat);
    for (int64_t i = 0; i < batches; ++i) {
      const int64_t rows = 200 / batches;
      accumulator.add(golden.at("X").narrow(0, i * rows, rows), golden.at("X_fp").narrow(0, i * rows, rows),
                      1);
    }
    const InputMoments moments = accumulator.finish(comm, "x");
    const std::string suffix = batches == 1 ? "" : "_4batches_of_50";
    EXPECT_EQ(moments.num_samples, batches);
    EXPECT_LT(test::relative_error(moments.hessian, golden.at("H" + suffix)), 1e-6);
    EXPECT_LT(test::relative_error(moments.cross, golden.at("dXXT" + suffix)), 1e-6);
  }
}

TEST(MomentAccumulator, MultipliesBfloat16InputsInItsOwnDtype) {
  const testing::Problem p = testing::random_problem(1, 48, 64, 1);
  const at::Tensor x = p.x.to(at::kBFloat16);
  const at::Tensor wide = x.to(at::kDouble);
  const at::Tensor expected = at::mm(wide.t(), wide).mul(2);
  EXPECT_LT(test::relative_error(testing::moments_of(x, {}).hessian, expected), 1e-6);
  EXPECT_LT(test::relative_error(testing::moments_of(x, {}, at::kDouble).hessian, expected), 1e-14);
}

// Seven samples over one to four ranks, the last of which may have fewer or none.
TEST(MomentAccumulator, SamplesSplitOverRanksGiveTheMomentsOfOneRank) {
  const testing::Problem p = testing::random_problem(1, 40, 7 * 16, 2);
  const auto moments = [&](dist::Communicator& comm) {
    const dist::RowPartition samples(7, comm.world_size());
    MomentAccumulator accumulator(40, true, at::kFloat);
    for (int64_t s = samples.begin(comm.rank()); s < samples.end(comm.rank()); ++s) {
      accumulator.add(p.x.narrow(0, 16 * s, 16), p.x_fp.narrow(0, 16 * s, 16), 1);
    }
    return accumulator.finish(comm, "x");
  };
  dist::SingleCommunicator alone;
  const InputMoments whole = moments(alone);
  for (int world : {2, 3, 4, 8}) {
    std::vector<InputMoments> parts(static_cast<size_t>(world));
    dist::run_ranks(
        world, [&](dist::Communicator& comm) { parts[static_cast<size_t>(comm.rank())] = moments(comm); });
    for (const InputMoments& part : parts) {
      EXPECT_EQ(part.num_samples, 7);
      EXPECT_LT(test::relative_error(part.hessian, whole.hessian), 1e-6);
      EXPECT_LT(test::relative_error(part.cross, whole.cross), 1e-6);
      EXPECT_TRUE(part.hessian.equal(parts[0].hessian)) << "ranks disagree";
    }
  }
}

// 1100 columns: several panels, the last one narrow.
TEST(MomentAccumulator, HessianOfSeveralPanelsIsWholeAndExactlySymmetric) {
  const testing::Problem p = testing::random_problem(1, 1100, 40, 8);
  const at::Tensor wide = p.x.to(at::kDouble);
  const at::Tensor h = testing::moments_of(p.x, {}).hessian;
  EXPECT_LT(test::relative_error(h, at::mm(wide.t(), wide).mul(2)), 1e-6);
  EXPECT_TRUE(h.equal(h.t()));
}

TEST(MomentAccumulator, RefusesNoSamplesAndInputsThatAreNotFinite) {
  dist::SingleCommunicator comm;
  MomentAccumulator empty(8, false, at::kFloat);
  EXPECT_THAT([&] { empty.finish(comm, "layer 2 o_proj"); },
              ThrowsMessage<Error>(HasSubstr("layer 2 o_proj: no calibration samples")));
  at::Tensor x = at::zeros({4, 8});
  x[1][3].fill_(std::numeric_limits<float>::infinity());
  EXPECT_THAT([&] { testing::moments_of(x, {}); }, ThrowsMessage<Error>(HasSubstr("test inputs")));
}

// H + damping = B D B^T with B unit upper triangular and D diagonal, in the order of quantization. 600
// columns: more than one panel of the factorisation.
TEST(HessianFactor, FeedbackIsTheUnitUpperFactorOfTheDampedHessian) {
  for (int64_t columns : {64, 600}) {
    const testing::Problem p = testing::random_problem(1, columns, 2 * columns, 3);
    for (bool act_order : {false, true}) {
      const InputMoments moments = testing::moments_of(p.x, {}, at::kDouble);
      const HessianFactor factor = factor_hessian(moments, {0.02, act_order, 0}, "x");
      at::Tensor h = moments.hessian.clone();
      h.diagonal().add_(0.02 * moments.hessian.diagonal().mean().item<double>());
      if (act_order) {
        const at::Tensor diagonal = moments.hessian.diagonal().index_select(0, factor.permutation);
        EXPECT_TRUE(
            diagonal.narrow(0, 1, columns - 1).le(diagonal.narrow(0, 0, columns - 1)).all().item<bool>());
        h = h.index_select(0, factor.permutation).index_select(1, factor.permutation);
      }
      at::Tensor b = factor.feedback.to(at::kDouble).triu(1);
      b.diagonal().fill_(1);
      const at::Tensor inverse = at::linalg_inv(b);
      const at::Tensor d = at::mm(at::mm(inverse, h), inverse.t()).diagonal().clone();
      EXPECT_GT(d.min().item<double>(), 0);
      EXPECT_LT(test::relative_error(at::mm(b.mul(d), b.t()), h), 1e-6) << columns;
      EXPECT_EQ(factor.damping_raised, 0);
    }
  }
}

// GPTAQ's closed form: fixing column q moves the columns F after it by v_q alpha cross[q, F] (H_F)^-1. The
// feedback of these moves upon one another is part of that; taken out, the correction remains.
TEST(HessianFactor, CorrectionSolvesForTheColumnsThatAreStillFree) {
  const testing::Problem p = testing::random_problem(1, 24, 96, 4);
  const InputMoments moments = testing::moments_of(p.x, p.x_fp, at::kDouble);
  const HessianFactor factor = factor_hessian(moments, {0.01, false, 0.7}, "x");
  at::Tensor h = moments.hessian.clone();
  h.diagonal().add_(0.01 * moments.hessian.diagonal().mean().item<double>());
  at::Tensor expected = at::zeros({24, 24}, at::kDouble);
  for (int64_t q = 0; q < 23; ++q) {
    const int64_t rest = 23 - q;
    const at::Tensor inverse = at::linalg_inv(h.narrow(0, q + 1, rest).narrow(1, q + 1, rest));
    const at::Tensor move = at::mm(moments.cross.narrow(0, q, 1).narrow(1, q + 1, rest), inverse).mul(0.7);
    at::Tensor b = factor.feedback.narrow(0, q + 1, rest).narrow(1, q + 1, rest).to(at::kDouble).triu(1);
    b.diagonal().fill_(1);
    expected.narrow(0, q, 1).narrow(1, q + 1, rest).copy_(at::mm(move, b));
  }
  EXPECT_LT(test::relative_error(factor.correction.triu(1), expected), 1e-5);
}

// Panels are an implementation detail: the correction of many columns is that of the closed form too.
TEST(HessianFactor, CorrectionOfSeveralPanelsSolvesAgainstTheFactor) {
  const testing::Problem p = testing::random_problem(1, 600, 1200, 9);
  const InputMoments moments = testing::moments_of(p.x, p.x_fp, at::kDouble);
  const HessianFactor factor = factor_hessian(moments, {0.01, false, 1.0}, "x");
  at::Tensor h = moments.hessian.clone();
  h.diagonal().add_(0.01 * moments.hessian.diagonal().mean().item<double>());
  at::Tensor b = factor.feedback.to(at::kDouble).triu(1);
  b.diagonal().fill_(1);
  const at::Tensor inverse = at::linalg_inv(b);
  const at::Tensor d = at::mm(at::mm(inverse, h), inverse.t()).diagonal().clone();
  const at::Tensor expected = at::mm(moments.cross, inverse.t()).div(d).triu(1);
  EXPECT_LT(test::relative_error(factor.correction.triu(1), expected), 1e-5);
}

TEST(HessianFactor, RaisesDampingUntilTheMatrixIsPositiveDefiniteAndSaysSo) {
  InputMoments moments{at::eye(16, at::kFloat), {}, 1};
  moments.hessian[3][3].fill_(-0.05);  // indefinite: needs more than percdamp 0.05
  const HessianFactor factor = factor_hessian(moments, {0.01, false, 0}, "x");
  EXPECT_EQ(factor.damping_raised, 1);
  EXPECT_DOUBLE_EQ(factor.percdamp, 0.1);
  const HessianFactor from_zero = factor_hessian(moments, {0, false, 0}, "x");
  EXPECT_EQ(from_zero.damping_raised, 4);
  EXPECT_DOUBLE_EQ(from_zero.percdamp, 0.1);
}

TEST(HessianFactor, FailsNamingTheMatrixWhenNoDampingHelps) {
  InputMoments moments{at::eye(16, at::kFloat), {}, 1};
  moments.hessian[3][3].fill_(-5);
  EXPECT_THAT(
      [&] {
        factor_hessian(moments, {0.01, false, 0}, "layer 1 down_proj");
      },
      ThrowsMessage<Error>(AllOf(HasSubstr("layer 1 down_proj"), HasSubstr("not positive definite"),
                                 HasSubstr("raised 2 times"))));
}

TEST(HessianFactor, FindsDeadColumns) {
  testing::Problem p = testing::random_problem(1, 24, 48, 5);
  p.x.select(1, 7).zero_();
  p.x.select(1, 20).zero_();
  const HessianFactor factor = factor_hessian(testing::moments_of(p.x, {}), {}, "x");
  EXPECT_EQ(factor.dead.sum().item<int64_t>(), 2);
  EXPECT_TRUE(factor.dead[7].item<bool>() && factor.dead[20].item<bool>());
}

// A dead input may still differ from its full-precision twin where its square has underflowed.
TEST(HessianFactor, LeavesDeadColumnsOutOfTheCrossTerm) {
  testing::Problem p = testing::random_problem(1, 24, 48, 7);
  p.x.select(1, 7).zero_();
  InputMoments moments = testing::moments_of(p.x, p.x_fp);
  const FactorOptions options{0.01, false, 0.5};
  const at::Tensor expected = factor_hessian(moments, options, "x").correction.triu(1);
  moments.cross.select(1, 7).fill_(1000);
  EXPECT_TRUE(factor_hessian(moments, options, "x").correction.triu(1).equal(expected));
}

TEST(HessianFactor, RefusesOptionsOutOfRangeAndMissingOrBadMoments) {
  const testing::Problem p = testing::random_problem(1, 16, 32, 6);
  const InputMoments plain = testing::moments_of(p.x, {});
  const auto refuse = [](const InputMoments& m, const FactorOptions& o, const std::string& text) {
    EXPECT_THAT([&] { factor_hessian(m, o, "q_proj"); },
                ThrowsMessage<Error>(AllOf(HasSubstr("q_proj"), HasSubstr(text))));
  };
  refuse(plain, {-0.1, false, 0}, "percdamp -0.1");
  refuse(plain, {1.5, false, 0}, "percdamp 1.5");
  refuse(plain, {0.01, false, -1}, "alpha -1");
  refuse(plain, {0.01, false, 0.25}, "no full-precision inputs");
  InputMoments bad = testing::moments_of(p.x, p.x_fp);
  bad.cross[2][2].fill_(std::numeric_limits<float>::quiet_NaN());
  refuse(bad, {0.01, false, 0.25}, "cross term is not finite");
  bad.hessian[1][1].fill_(std::numeric_limits<float>::quiet_NaN());
  refuse(bad, {0.01, false, 0}, "Hessian of the calibration inputs is not finite");
}

}  // namespace
}  // namespace spq::ptq
