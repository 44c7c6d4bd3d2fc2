#include "ptq/gptq.h"

#include <ATen/ops/cat.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "core/error.h"
#include "dist/thread_communicator.h"
#include "tests/ptq/paper.h"
#include "tests/ptq/problem.h"
#include "tests/support/golden.h"

namespace spq::ptq {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

// Every combination that changes the arithmetic.
struct Mode {
  WeightQuantSpec spec;
  FactorOptions factor;
  bool static_groups = false;
};

std::string name_of(const Mode& m) {
  return fmt::format("{} bit {} group {} act_order {} static {} alpha {}", m.spec.bits,
                     m.spec.symmetric ? "sym" : "asym", m.spec.group_size, m.factor.act_order,
                     m.static_groups, m.factor.alpha);
}

std::vector<Mode> modes() {
  std::vector<Mode> all;
  for (bool symmetric : {true, false}) {
    for (int64_t group : {-1, 32, 64}) {
      for (bool act_order : {false, true}) {
        for (double alpha : {0.0, 0.5}) {
          all.push_back({{4, symmetric, group, false, at::kFloat}, {0.01, act_order, alpha}, false});
          if (group == 32) all.push_back({all.back().spec, all.back().factor, true});
        }
      }
    }
  }
  return all;
}

GptqResult run(const testing::Problem& p, const Mode& m, int64_t block = 128) {
  const InputMoments moments = testing::moments_of(p.x, p.x_fp, at::kDouble);
  return testing::solve(p.weight, moments, m.spec, m.factor, {block, m.static_groups, false});
}

testing::PaperResult paper(const testing::Problem& p, const Mode& m) {
  const InputMoments moments = testing::moments_of(p.x, p.x_fp, at::kDouble);
  return testing::paper_gptq(p.weight, moments.hessian, moments.cross, m.spec,
                             {m.factor.percdamp, m.factor.alpha, m.factor.act_order, m.static_groups});
}

// Rows whose every value is farther from a rounding boundary than fp32 can err must agree in every integer,
// in whatever order sums were taken.
void expect_codes(const at::Tensor& found, const at::Tensor& expected, const at::Tensor& margins,
                  const std::string& what) {
  const at::Tensor rows = margins.gt(2e-5).nonzero().squeeze(1);
  EXPECT_GE(2 * rows.numel(), margins.numel()) << what << ": too few rows to compare";
  EXPECT_EQ(testing::rows_that_differ(found.index_select(0, rows), expected.index_select(0, rows)), 0)
      << what;
}

TEST(Gptq, EqualsThePapersEquationsInDoublePrecisionInEveryMode) {
  const testing::Problem p = testing::random_problem(24, 128, 256, 10);
  for (const Mode& m : modes()) {
    const testing::PaperResult expected = paper(p, m);
    const GptqResult found = run(p, m, 48);
    expect_codes(found.quantized.codes, expected.codes, expected.margins, name_of(m));
    const at::Tensor rows = expected.margins.gt(2e-5).nonzero().squeeze(1);
    EXPECT_LT(test::max_error(found.weight.index_select(0, rows), expected.weight.index_select(0, rows)),
              2e-6)
        << name_of(m);
  }
}

TEST(Gptq, DoesNotDependOnTheBlockSize) {
  const testing::Problem p = testing::random_problem(24, 128, 256, 10);
  for (const Mode& m : modes()) {
    const at::Tensor margins = paper(p, m).margins;
    const at::Tensor one_block = run(p, m, 128).quantized.codes;
    for (int64_t block : {1, 24, 32, 100, 4096}) {
      expect_codes(run(p, m, block).quantized.codes, one_block, margins,
                   fmt::format("{} block {}", name_of(m), block));
    }
  }
}

TEST(Gptq, PublishedGroupScalesAreAnOptionThatMakesTheBlockSizeMatter) {
  const testing::Problem p = testing::random_problem(24, 128, 256, 11);
  const InputMoments moments = testing::moments_of(p.x, {});
  const WeightQuantSpec spec{4, true, 32, false, at::kFloat};
  const auto scales = [&](int64_t block, bool published) {
    return testing::solve(p.weight, moments, spec, {}, {block, false, published}).quantized.scale;
  };
  EXPECT_LT(test::relative_error(scales(128, false), scales(32, false)), 1e-2);
  EXPECT_TRUE(scales(32, true).equal(scales(32, false)));  // every group begins with a block
  EXPECT_GT(test::relative_error(scales(128, true), scales(32, true)), 1e-2);
}

TEST(Gptq, LosesLessThanRoundToNearestOnEveryProblem) {
  for (uint64_t seed : {20, 21, 22, 23}) {
    const testing::Problem p =
        testing::random_problem(32, 128, 96 + 64 * static_cast<int64_t>(seed % 3), seed);
    const InputMoments moments = testing::moments_of(p.x, {});
    for (int bits : {2, 3, 4, 8}) {
      for (int64_t group : {-1, 32, 64, 128}) {
        for (bool symmetric : {true, false}) {
          for (bool mse : {false, true}) {
            const WeightQuantSpec spec{bits, symmetric, group, mse, at::kFloat};
            const at::Tensor rtn = dequantize(quantize_rtn(p.weight, spec, "w"), {}, at::kFloat);
            const at::Tensor q = testing::solve(p.weight, moments, spec).weight;
            EXPECT_LT(testing::proxy_loss(p.weight, q, moments.hessian),
                      testing::proxy_loss(p.weight, rtn, moments.hessian))
                << seed << " " << bits << " bits group " << group << (symmetric ? " sym" : " asym") << mse;
          }
        }
      }
    }
  }
}

TEST(Gptaq, ComesCloserToTheFullPrecisionOutputThanGptq) {
  for (uint64_t seed : {30, 31, 32}) {
    const testing::Problem p = testing::random_problem(32, 128, 512, seed);
    const InputMoments moments = testing::moments_of(p.x, p.x_fp);
    const WeightQuantSpec spec{4, true, -1, false, at::kFloat};
    const auto loss = [&](double alpha) {
      return testing::output_loss(p, testing::solve(p.weight, moments, spec, {0.01, false, alpha}).weight);
    };
    EXPECT_LT(loss(1.0), loss(0.0));
  }
}

TEST(Gptq, IntegersScalesAndZerosGiveTheReturnedWeightsExactly) {
  for (at::ScalarType dtype : {at::kFloat, at::kBFloat16, at::kHalf}) {
    testing::Problem p = testing::random_problem(20, 128, 256, 12);
    p.weight = p.weight.to(dtype);
    for (Mode m : modes()) {
      m.spec.scale_dtype = dtype;
      const GptqResult found = run(p, m);
      const QuantizedWeight& q = found.quantized;
      EXPECT_EQ(found.weight.scalar_type(), dtype);
      EXPECT_EQ(q.scale.scalar_type(), dtype);
      EXPECT_TRUE(dequantize(q, found.group_index, dtype).equal(found.weight)) << name_of(m);
      // And by hand, in case dequantize is wrong the same way.
      const at::Tensor scale = q.scale.to(at::kDouble).index_select(1, found.group_index);
      const at::Tensor zero = q.zero.to(at::kDouble).index_select(1, found.group_index);
      const at::Tensor by_hand = q.codes.to(at::kDouble).sub(zero).mul(scale).to(at::kFloat).to(dtype);
      EXPECT_TRUE(by_hand.equal(found.weight)) << name_of(m);
      EXPECT_GE(q.codes.min().item<int>(), code_range(m.spec).low);
      EXPECT_LE(q.codes.max().item<int>(), code_range(m.spec).high);
    }
  }
}

TEST(Gptq, ActOrderCarriesTheGroupOfEachColumn) {
  const testing::Problem p = testing::random_problem(8, 128, 256, 13);
  const InputMoments moments = testing::moments_of(p.x, {});
  const WeightQuantSpec spec{4, true, 32, false, at::kFloat};
  const HessianFactor factor = factor_hessian(moments, {0.01, true, 0}, "x");
  const at::Tensor dynamic = quantize_gptq(p.weight, factor, spec, {}, "w").group_index;
  const at::Tensor fixed = quantize_gptq(p.weight, factor, spec, {128, true, false}, "w").group_index;
  for (int64_t k = 0; k < 128; ++k) {
    EXPECT_EQ(dynamic[factor.permutation[k].item<int64_t>()].item<int64_t>(), k / 32);
    EXPECT_EQ(fixed[k].item<int64_t>(), k / 32);
  }
  EXPECT_FALSE(dynamic.equal(fixed));
}

TEST(Gptq, StaticGroupsAreTheRangesOfTheGivenWeights) {
  const testing::Problem p = testing::random_problem(8, 128, 256, 14);
  const Mode m{{4, false, 32, false, at::kFloat}, {0.01, true, 0}, true};
  const GptqResult found = run(p, m);
  const QuantParams expected = find_params(p.weight, m.spec, "w");
  EXPECT_TRUE(found.quantized.scale.equal(expected.scale));
  EXPECT_TRUE(found.quantized.zero.equal(expected.zero));
}

// A bf16 matrix is the same problem as its fp32 copy: only the dtype of the answer differs.
TEST(Gptq, Bfloat16WeightsGiveTheCodesOfTheirFp32Copy) {
  testing::Problem p = testing::random_problem(16, 128, 256, 15);
  p.weight = p.weight.to(at::kBFloat16);
  const Mode m{{4, true, 32, true, at::kBFloat16}, {}, false};
  const GptqResult half = run(p, m);
  p.weight = p.weight.to(at::kFloat);
  const GptqResult full = run(p, m);
  EXPECT_TRUE(half.quantized.codes.equal(full.quantized.codes));
  EXPECT_TRUE(half.quantized.scale.equal(full.quantized.scale));
  EXPECT_TRUE(full.weight.to(at::kBFloat16).equal(half.weight));
}

TEST(Gptq, AnySubsetOfRowsGivesItsPartOfTheWhole) {
  const testing::Problem p = testing::random_problem(75, 96, 256, 16);
  for (const Mode& m : modes()) {
    if (96 % std::max<int64_t>(m.spec.group_size, 1) != 0) continue;
    const at::Tensor margins = paper(p, m).margins;
    const GptqResult whole = run(p, m);
    std::vector<at::Tensor> parts;
    for (const auto& [first, count] :
         std::vector<std::pair<int64_t, int64_t>>{{0, 1}, {1, 33}, {34, 0}, {34, 41}}) {
      testing::Problem part = p;
      part.weight = p.weight.narrow(0, first, count);
      parts.push_back(run(part, m).quantized.codes);
      EXPECT_EQ(parts.back().sizes(), at::IntArrayRef({count, 96}));
    }
    expect_codes(at::cat(parts), whole.quantized.codes, margins, name_of(m));
  }
}

TEST(Gptq, SamplesAndRowsSplitOverRanksGiveTheResultOfOneRank) {
  const testing::Problem p = testing::random_problem(30, 96, 8 * 64, 17);
  const Mode m{{4, true, 32, false, at::kFloat}, {0.01, true, 0.25}, false};
  const at::Tensor margins = paper(p, m).margins;
  const auto codes_of_rank = [&](dist::Communicator& comm) {
    const dist::RowPartition samples(8, comm.world_size());
    const dist::RowPartition rows(30, comm.world_size());
    MomentAccumulator accumulator(96, true, at::kDouble);
    for (int64_t s = samples.begin(comm.rank()); s < samples.end(comm.rank()); ++s) {
      accumulator.add(p.x.narrow(0, 64 * s, 64), p.x_fp.narrow(0, 64 * s, 64), 1);
    }
    const InputMoments moments = accumulator.finish(comm, "x");
    const at::Tensor mine = p.weight.narrow(0, rows.begin(comm.rank()), rows.count(comm.rank()));
    return testing::solve(mine, moments, m.spec, m.factor).quantized.codes;
  };
  at::Tensor whole;
  dist::run_ranks(1, [&](dist::Communicator& comm) { whole = codes_of_rank(comm); });
  for (int world : {2, 3, 4}) {
    std::vector<at::Tensor> parts(static_cast<size_t>(world));
    dist::run_ranks(world, [&](dist::Communicator& comm) {
      parts[static_cast<size_t>(comm.rank())] = codes_of_rank(comm);
    });
    expect_codes(at::cat(parts), whole, margins, fmt::format("{} ranks", world));
  }
}

TEST(Gptq, RefusesBadInputNamingIt) {
  const testing::Problem p = testing::random_problem(8, 64, 128, 18);
  const HessianFactor factor = factor_hessian(testing::moments_of(p.x, {}), {}, "x");
  const auto refuse = [&](const at::Tensor& w, const WeightQuantSpec& spec, const GptqOptions& options,
                          const std::string& text) {
    EXPECT_THAT([&] { quantize_gptq(w, factor, spec, options, "layer 5 up_proj"); },
                ThrowsMessage<Error>(AllOf(HasSubstr("layer 5 up_proj"), HasSubstr(text))));
  };
  for (at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    at::Tensor bad = p.weight.to(dtype, /*non_blocking=*/false, /*copy=*/true);
    bad[6][63].fill_(std::numeric_limits<float>::quiet_NaN());
    refuse(bad, {}, {}, "nan at row 6, column 63");
  }
  refuse(p.weight, {}, {0, false, false}, "block size 0");
  refuse(p.weight, {1, true, -1, false, at::kFloat}, {}, "1 bits");
  refuse(p.weight, {4, true, 48, false, at::kFloat}, {}, "group size 48");
  refuse(p.weight.narrow(1, 0, 32), {}, {}, "32 columns, but calibration inputs of 64");
}

}  // namespace
}  // namespace spq::ptq
