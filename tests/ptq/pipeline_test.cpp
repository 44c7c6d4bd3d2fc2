// The whole stage on the embedded model and on fixtures: what is written, evaluated and refused.
#include "ptq/pipeline.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "core/error.h"
#include "data/transform_manifest.h"
#include "dist/single_communicator.h"
#include "dist/thread_communicator.h"
#include "ptq/evaluate.h"
#include "tests/support/golden.h"

namespace spq::ptq {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class Pipeline : public testing::Test {
 protected:
  void SetUp() override {
    const auto* test = testing::UnitTest::GetInstance()->current_test_info();
    folder_ = fs::temp_directory_path() / (std::string("spq-pipeline-") + test->name());
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  // 4-bit everything behind random Hadamard rotations, a little calibration, part of the held-out text.
  PtqConfig config(const std::string& name, Method method) const {
    const fs::path tiny = fs::path(SPQ_SOURCE_DIR) / "data/tiny-llama";
    PtqConfig c;
    c.model = tiny.string();
    c.output_dir = (folder_ / name).string();
    c.rotate.r1 = c.rotate.r2 = model::RotationSource::kHadamard;
    c.rotate.seed = 1;
    c.weights.method = method;
    c.quant.activation.bits = c.quant.key.bits = c.quant.value.bits = 4;
    c.calibration.tokens = (tiny / "tokens-train.h5").string();
    c.calibration.samples = 8;
    c.calibration.sequence_length = 128;
    c.eval.tokens = (tiny / "tokens-heldout.h5").string();
    c.eval.sequence_length = 128;
    c.eval.sequences = 24;
    c.eval.micro_batch = 8;
    return c;
  }
  double run(const PtqConfig& c) { return run_ptq(single_, c, nullptr).value(); }
  std::string complaint(const PtqConfig& c) {
    try {
      run(c);
    } catch (const AgreedError& error) {
      return error.what();
    }
    return "";
  }

  dist::SingleCommunicator single_;
  fs::path folder_;
};

TEST_F(Pipeline, MethodsRankAsInThePapers) {
  PtqConfig none = config("none", Method::kNone);
  const double sixteen = run(none), rtn = run(config("rtn", Method::kRtn)),
               gptq = run(config("gptq", Method::kGptq)), gptaq = run(config("gptaq", Method::kGptaq));
  EXPECT_LT(sixteen, rtn);
  EXPECT_LT(gptq, rtn);
  EXPECT_LT(gptaq, rtn);
  PtqConfig plain = config("plain", Method::kRtn);
  plain.rotate = RotateConfig();
  plain.rotate.r4_hadamard = plain.rotate.r3_hadamard = false;
  EXPECT_GT(run(plain), 1.5 * rtn) << "without rotation";
}

TEST_F(Pipeline, RanksShareTheWorkAndGiveTheSameModel) {
  for (Method method : {Method::kRtn, Method::kGptaq}) {
    const double alone = run(config("alone", method));
    double together = 0;
    dist::run_ranks(3, [&](dist::Communicator& comm) {
      const double perplexity = run_ptq(comm, config("together", method), nullptr).value();
      if (comm.rank() == 0) together = perplexity;
    });
    // Summation order of the moments moves a code here and there; RTN looks at no moments.
    EXPECT_NEAR(together, alone, method == Method::kRtn ? 1e-4 * alone : 1e-2 * alone);
    fs::remove_all(folder_ / "alone");
    fs::remove_all(folder_ / "together");
  }
}

TEST_F(Pipeline, TransformThenQuantizeInTwoStepsIsTheSameAsInOne) {
  const double one = run(config("one", Method::kRtn));
  PtqConfig first = config("transformed", Method::kNone);
  run(first);
  PtqConfig second = config("two", Method::kRtn);
  second.model = first.output_dir;
  second.rotate = RotateConfig();  // identity: the rotations are in the weights
  EXPECT_NEAR(run(second), one, 1e-6 * one);
  const auto manifest = data::read_manifest(second.output_dir);
  ASSERT_TRUE(manifest.has_value());
  EXPECT_TRUE(manifest->r1_sha256 && manifest->r4 && manifest->weights);
}

TEST_F(Pipeline, RefusesToRotateTwiceToChangeR4AndToQuantizeTwice) {
  PtqConfig first = config("transformed", Method::kNone);
  run(first);
  PtqConfig again = config("again", Method::kRtn);
  again.model = first.output_dir;
  EXPECT_THAT(complaint(again), HasSubstr("cannot be rotated twice"));
  again.rotate = RotateConfig();
  again.rotate.r4_hadamard = false;
  EXPECT_THAT(complaint(again), HasSubstr("the online transform must be the same in both steps"));
  again.rotate.r4_hadamard = true;
  run(again);
  PtqConfig third = config("third", Method::kRtn);
  third.model = again.output_dir;
  third.rotate = RotateConfig();
  EXPECT_THAT(complaint(third), HasSubstr("already quantized"));
}

TEST_F(Pipeline, ManifestNamesOnlyTheRotationThatWasMerged) {
  PtqConfig c = config("r1", Method::kNone);
  c.rotate.r2 = model::RotationSource::kIdentity;
  run(c);
  const auto manifest = data::read_manifest(c.output_dir);
  ASSERT_TRUE(manifest.has_value());
  EXPECT_TRUE(manifest->r1_sha256.has_value());
  EXPECT_FALSE(manifest->r2_sha256.has_value());
  EXPECT_TRUE(fs::exists(fs::path(c.output_dir) / "R.bin"));
}

TEST_F(Pipeline, RefusesGroupSizesBeforeWriting) {
  PtqConfig c = config("groups", Method::kRtn);
  c.weights.group_size = 48;
  EXPECT_THAT(complaint(c), HasSubstr("weights.group_size and hidden_size"));
  EXPECT_FALSE(fs::exists(c.output_dir));
}

TEST_F(Pipeline, RefusesAnOutputFolderThatHoldsSomethingElse) {
  const PtqConfig c = config("rtn", Method::kRtn);
  run(c);
  EXPECT_THAT(complaint(c), HasSubstr(c.output_dir));
}

TEST_F(Pipeline, EvaluationWantsTheOnlineTransformThatIsFoldedIn) {
  const PtqConfig c = config("rtn", Method::kRtn);
  const double perplexity = run(c);
  const auto tokens = open_fitting_tokens(c.eval.tokens, 128, c.output_dir);
  EXPECT_DOUBLE_EQ(
      evaluate_model(single_, c.output_dir, *tokens, {128, 24, 8}, c.quant, {true, true}, at::kFloat),
      perplexity);
  EXPECT_THROW(
      evaluate_model(single_, c.output_dir, *tokens, {128, 24, 8}, c.quant, {true, false}, at::kFloat),
      AgreedError);
}

TEST_F(Pipeline, Bf16FollowsFp32) {
  PtqConfig wide = config("wide", Method::kGptq), narrow = config("narrow", Method::kGptq);
  narrow.fp32 = false;
  const double a = run(wide), b = run(narrow);
  EXPECT_NEAR(b, a, 0.05 * a);
}

}  // namespace
}  // namespace spq::ptq
