#include "trainer/cayley.h"

#include <ATen/ops/add.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/linalg_solve.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/sub.h>
#include <ATen/ops/zeros_like.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <utility>

#include "core/error.h"
#include "dist/single_communicator.h"
#include "dist/thread_communicator.h"
#include "model/rotation_start.h"
#include "tests/support/golden.h"

namespace spq::trainer {
namespace {

at::Tensor cayley_transform(const at::Tensor& x, const at::Tensor& w, double t) {
  const at::Tensor eye = at::eye(x.size(0), x.options());
  return at::linalg_solve(at::sub(eye, w, t / 2), at::mm(at::add(eye, w, t / 2), x));
}

// The iteration of the paper: Y <- X + t W (X + Y) / 2, from Y = start.
at::Tensor cayley_iterate(const at::Tensor& x, const at::Tensor& w, double t, at::Tensor start,
                          int64_t iterations) {
  at::Tensor y = std::move(start);
  for (int64_t i = 0; i < iterations; ++i) y = at::add(x, at::mm(w, at::add(x, y)), t / 2);
  return y;
}

// A smooth deterministic matrix, different for each seed.
at::Tensor some_matrix(int64_t n, int64_t seed) {
  return model::random_orthogonal(n, 1000 + seed, 0).add(model::random_orthogonal(n, 2000 + seed, 1), 0.5);
}

// The reference works on X = P^T (its W acts from the right of P) and starts its iteration from the raw
// gradient: with that start our iteration gives its numbers (design.md 4 says why ours starts from the
// tangent).
TEST(CayleyIterate, ReproducesTheReferenceOptimizerFromItsRawStart) {
  const test::TensorMap golden = test::golden("cayley");
  for (const std::string tag : {"lr1.5.big", "lr1.5.tiny", "lr1.5.mixed", "lr0.01.mid", "lr0.01.big"}) {
    const double rate = golden.at(tag + ".lr")[0].item<double>();
    at::Tensor p = golden.at("X0").to(at::kDouble);
    for (int64_t step = 0; step < 5; ++step) {
      const at::Tensor g = golden.at(tag + ".G")[step].to(at::kDouble);
      const at::Tensor x = p.div(p.norm(2, 1, true).add(1e-8)).t().contiguous();
      const at::Tensor v = g.t().neg();
      // Its W: V U projected to the tangent space; for exactly orthogonal X it is our descent direction of M
      // = G^T X^T.
      const at::Tensor a = v.mm(x.t());
      const at::Tensor half = a.sub(x.mm(x.t().mm(a)).mul(0.5));
      const at::Tensor w = half.sub(half.t());
      EXPECT_LE(test::max_error(descent_direction(g.t().mm(x.t())), w), 5e-5 * w.abs().max().item<double>());
      const double t = clamped_step(w, rate);
      EXPECT_NEAR(t, golden.at(tag + ".alpha_f64")[step].item<double>(), 1e-7 * t) << tag;
      p = cayley_iterate(x, w, t, at::add(x, v, t), 5).t();
      EXPECT_LE(test::max_error(p, golden.at(tag + ".X.f64")[step]), 1e-9) << tag << " step " << step;
    }
  }
}

TEST(CayleyIterate, ConvergesToTheCayleyTransform) {
  const at::Tensor x = model::random_orthogonal(48, 1, 0).to(at::kDouble);
  const at::Tensor w = descent_direction(some_matrix(48, 2).to(at::kDouble));
  const double t = clamped_step(w, 1e9);
  const at::Tensor exact = cayley_transform(x, w, t);
  double previous = 1e9;
  for (int64_t iterations : {0, 5, 10, 40}) {
    const double error = test::max_error(cayley_iterate(x, w, t, at::add(x, w.mm(x), t), iterations), exact);
    EXPECT_LT(error, previous);
    previous = error;
  }
  EXPECT_LE(previous, 1e-12);
}

// At the longest step, where powers count most. 515: wide enough to be shared by halves (half_product.h), and
// not divisible by anything here.
TEST(CayleyStep, EqualsTheIterationOfThePaperForAnyNumberOfIterationsAndRanks) {
  const std::vector<at::Tensor> start = {model::random_orthogonal(515, 1, 0).to(at::kDouble),
                                         model::random_orthogonal(7, 1, 1).to(at::kDouble)};
  const std::vector<at::Tensor> moments = {some_matrix(515, 1).to(at::kDouble),
                                           some_matrix(7, 2).to(at::kDouble)};
  for (int64_t iterations = 1; iterations <= 7; ++iterations) {
    std::vector<at::Tensor> expected;
    for (size_t i = 0; i < start.size(); ++i) {
      const at::Tensor w = descent_direction(moments[i]);
      const double t = clamped_step(w, 1e9);
      expected.push_back(cayley_iterate(start[i], w, t, at::add(start[i], w.mm(start[i]), t), iterations));
    }
    for (int ranks = 1; ranks <= 4; ++ranks) {
      for (const auto& [dtype, tolerance] : {std::pair(at::kDouble, 1e-12), std::pair(at::kFloat, 5e-7)}) {
        std::vector<std::vector<at::Tensor>> found(static_cast<size_t>(ranks));
        dist::run_ranks(ranks, [&](dist::Communicator& comm) {
          std::vector<at::Tensor> momentum, m;
          std::vector<at::Tensor>& x = found[static_cast<size_t>(comm.rank())];
          for (size_t i = 0; i < start.size(); ++i) {
            x.push_back(start[i].to(dtype).clone());
            m.push_back(moments[i].to(dtype));
          }
          cayley_step(comm, x, m, momentum, 1e9, {.iterations = iterations, .retract_above = 1e9});
        });
        for (size_t i = 0; i < start.size(); ++i) {
          EXPECT_LE(test::max_error(found[0][i], expected[i]), tolerance) << iterations << " on " << ranks;
          for (const auto& other : found) EXPECT_TRUE(other[i].equal(found[0][i])) << "ranks differ in bits";
        }
      }
    }
  }
}

TEST(CayleyStep, CostsTheProductsAndGathersThatPowersByHalvesNeed) {
  const double products[] = {2, 2.5, 3, 3.5, 3.5, 5, 4.5, 4.5};  // k = 1 to 8
  const double gathers[] = {2, 3, 2, 3, 3, 2, 3, 3};
  for (int64_t k = 1; k <= 8; ++k) {
    EXPECT_EQ(update_cost(k).products, products[k - 1]) << k;
    EXPECT_EQ(update_cost(k).gathers, gathers[k - 1]) << k;
  }
}

TEST(OrthogonalityError, SeesEveryEntryOnAnyNumberOfRanks) {
  for (const int64_t n : {3, 515}) {
    for (const auto& [row, column] : {std::pair<int64_t, int64_t>(0, 0),
                                      {n - 1, n - 1},
                                      {0, n - 1},
                                      {n - 1, 0},
                                      {n / 2, 0},
                                      {0, n / 2},
                                      {n / 2 + 1, 0},
                                      {n / 3, n / 2}}) {
      const at::Tensor x = at::eye(n);
      x[row][column].add_(0.25);
      const double expected = row == column ? 0.5625 : 0.25;
      for (int ranks = 1; ranks <= 4; ++ranks) {
        dist::run_ranks(ranks, [&, r = row, c = column](dist::Communicator& comm) {
          EXPECT_EQ(orthogonality_error(comm, x), expected) << r << ", " << c << " on " << ranks;
        });
      }
    }
  }
}

TEST(CayleyStep, FirstOrderStepIsMinusHalfTheSkewPartTimesX) {
  dist::SingleCommunicator comm;
  const at::Tensor start = model::random_orthogonal(32, 1, 0);
  const at::Tensor m = some_matrix(32, 3);
  std::vector<at::Tensor> x = {start.clone()}, momentum = {at::zeros_like(start)};
  const double rate = 1e-3;
  cayley_step(comm, x, {m}, momentum, rate, {});
  const at::Tensor expected = start.sub(test::skew(m).mm(start), rate / 2);
  EXPECT_LE(test::max_error(x[0], expected), 1e-5);
  EXPECT_GT(test::max_error(x[0], start), 1e-4);
}

TEST(CayleyStep, GivesTheSameMatricesForEveryRankCount) {
  const std::vector<at::Tensor> start = {model::random_hadamard(40, 5, 0), model::random_orthogonal(6, 5, 1),
                                         model::random_orthogonal(6, 5, 2)};
  const std::vector<at::Tensor> moments = {some_matrix(40, 1), some_matrix(6, 2), some_matrix(6, 3)};
  const auto steps = [&](dist::Communicator& comm) {
    std::vector<at::Tensor> x, momentum;
    for (const at::Tensor& s : start) {
      x.push_back(s.clone());
      momentum.push_back(at::zeros_like(s));
    }
    for (int i = 0; i < 3; ++i) cayley_step(comm, x, moments, momentum, 0.7, {.momentum = 0.5});
    return x;
  };
  dist::SingleCommunicator single;
  const std::vector<at::Tensor> expected = steps(single);
  for (int ranks : {2, 3, 4, 7}) {  // 7 ranks: some own no column of the small matrices
    std::vector<std::vector<at::Tensor>> found(static_cast<size_t>(ranks));
    dist::run_ranks(ranks,
                    [&](dist::Communicator& comm) { found[static_cast<size_t>(comm.rank())] = steps(comm); });
    for (size_t i = 0; i < start.size(); ++i) {
      EXPECT_LE(test::max_error(found[0][i], expected[i]), 1e-6) << ranks;
      for (const auto& other : found) EXPECT_TRUE(other[i].equal(found[0][i])) << "ranks differ in bits";
    }
  }
}

TEST(CayleyStep, StaysOrthogonalOverAThousandSteps) {
  dist::SingleCommunicator comm;
  std::vector<at::Tensor> x = {model::random_hadamard(64, 1, 0)}, momentum = {at::zeros_like(x[0])};
  double worst = 0;
  for (int64_t step = 0; step < 1000; ++step) {
    const double size = step % 3 == 0 ? 10.0 : 0.05;  // with and without the clamp acting
    const CayleyReport report = cayley_step(comm, x, {some_matrix(64, step).mul(size)}, momentum, 1.5, {});
    worst = std::max(worst, report.orthogonality_error);
  }
  EXPECT_LT(worst, 1e-4);
  EXPECT_LT(orthogonality_error(comm, x[0]), 1e-4);
}

TEST(CayleyStep, RetractsWhenOrthogonalityIsLost) {
  dist::SingleCommunicator comm;
  const at::Tensor good = model::random_orthogonal(32, 1, 0);
  std::vector<at::Tensor> x = {good.mul(1.001)}, momentum = {at::zeros_like(good)};
  const CayleyReport report = cayley_step(comm, x, {at::zeros_like(good)}, momentum, 1.0, {});
  EXPECT_EQ(report.retractions, 1);
  EXPECT_LT(report.orthogonality_error, 1e-6);
  EXPECT_LT(orthogonality_error(comm, x[0]), 1e-6);
  EXPECT_LE(test::max_error(x[0], good), 1e-5);
}

TEST(CayleyStep, ClipLimitsTheJointTangentialNorm) {
  dist::SingleCommunicator comm;
  const at::Tensor start = model::random_orthogonal(16, 1, 0);
  const at::Tensor m = some_matrix(16, 4).mul(100);
  const auto moved = [&](double rate, double clip) {
    std::vector<at::Tensor> x = {start.clone(), start.clone()};
    std::vector<at::Tensor> momentum = {at::zeros_like(start), at::zeros_like(start)};
    const CayleyReport report = cayley_step(comm, x, {m, m}, momentum, rate, {.clip_norm = clip});
    EXPECT_NEAR(report.tangential_norm, std::sqrt(2.0) * descent_direction(m).norm().item<double>(), 1e-2);
    return x[0];
  };
  const double norm = std::sqrt(2.0) * descent_direction(m).norm().item<double>();
  EXPECT_LE(test::max_error(moved(1e-2, 0.5), moved(1e-2 * 0.5 / norm, 0.0)), 1e-6);
  EXPECT_GT(test::max_error(moved(1e-2, 0.5), moved(1e-2, 0.0)), 1e-3);
}

// Momentum B <- mu B + (M - M^T)/2 with W = -B, followed in double precision with the exact Cayley transform.
TEST(CayleyStep, MomentumAccumulatesAlongTheManifold) {
  dist::SingleCommunicator comm;
  at::Tensor expected = model::random_orthogonal(24, 1, 0).to(at::kDouble);
  std::vector<at::Tensor> x = {expected.to(at::kFloat)}, momentum = {at::zeros_like(x[0])};
  at::Tensor b = at::zeros_like(expected);
  for (int64_t step = 0; step < 6; ++step) {
    const at::Tensor m = some_matrix(24, step);
    b = b.mul(0.9).add(test::skew(m.to(at::kDouble)), 0.5);
    expected = cayley_transform(expected, b.neg(), 0.01);
    cayley_step(comm, x, {m}, momentum, 0.01, {.momentum = 0.9});
    EXPECT_LE(test::max_error(momentum[0], b), 1e-5);
    EXPECT_LE(test::max_error(x[0], expected), 1e-5) << step;
  }
}

TEST(CayleyStep, MinimizesAFunctionOnTheOrthogonalGroupFasterWithMomentum) {
  dist::SingleCommunicator comm;
  const at::Tensor target = model::random_orthogonal(24, 9, 0);
  const auto distance_after = [&](double momentum_factor) {
    const at::Tensor start = cayley_transform(target, descent_direction(some_matrix(24, 11)), 0.5);
    std::vector<at::Tensor> x = {start}, momentum = {at::zeros_like(start)};
    for (int i = 0; i < 60; ++i) {  // L = ||X - target||^2 / 2, G = X - target, M = G X^T
      const at::Tensor m = x[0].sub(target).mm(x[0].t());
      cayley_step(comm, x, {m}, momentum, 0.02, {.momentum = momentum_factor});
    }
    return x[0].sub(target).norm().item<double>();
  };
  const double plain = distance_after(0.0);
  EXPECT_LT(distance_after(0.8), 0.5 * plain);
}

}  // namespace
}  // namespace spq::trainer
