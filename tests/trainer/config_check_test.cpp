#include "trainer/config_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <set>
#include <string>

#include "tests/trainer/config_test_tools.h"
#include "trainer/config_keys.h"

namespace spq::trainer {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

Config good_config() {
  Config config = minimal_config();
  config.quant.activation.bits = 4;
  return config;
}

std::string complaint(const Config& config) {
  return error_of([&] { validate(config); });
}

TEST(Validate, AcceptsALearningRunAndAnEvaluation) {
  EXPECT_NO_THROW(validate(good_config()));
  Config evaluate = good_config();
  evaluate.rotation.r1 = evaluate.rotation.r2 = RotationKind::kRandom;
  evaluate.optimizer.steps = 0;
  EXPECT_NO_THROW(validate(evaluate));
  evaluate.quant.activation.bits = 16;
  EXPECT_NO_THROW(validate(evaluate)) << "full precision is a fair thing to evaluate";
}

TEST(Validate, ChecksRangesOfConfigsThatWereNotReadFromYaml) {
  Config config = good_config();
  config.quant.key.bits = 12;
  EXPECT_EQ(complaint(config), "quant.key.bits is '12', expected integer: 2 to 8, or 16");
  config = good_config();
  config.optimizer.learning_rate = std::numeric_limits<double>::quiet_NaN();
  EXPECT_THAT(complaint(config), StartsWith("optimizer.learning_rate is 'nan'"));
  config = good_config();
  config.model.clear();
  EXPECT_THAT(complaint(config), StartsWith("model is ''"));
  config = good_config();
  config.rotation.start = RotationKind::kLearned;
  EXPECT_THAT(complaint(config), StartsWith("rotation.start is "));
}

TEST(Validate, RefusesAStartWhenNothingIsLearned) {
  Config config = good_config();
  config.rotation.r1 = config.rotation.r2 = RotationKind::kIdentity;
  config.optimizer.steps = 0;
  config.rotation.start = RotationKind::kRandom;
  EXPECT_THAT(complaint(config), StartsWith("rotation.start is given, but neither"));
  config.rotation.r2 = RotationKind::kLearned;
  EXPECT_NO_THROW(validate(config));
}

TEST(Validate, WantsARotationFileExactlyWhereOneIsUsed) {
  for (auto use : {&RotationConfig::r1, &RotationConfig::r2, &RotationConfig::start}) {
    Config config = good_config();
    config.rotation.*use = RotationKind::kFile;
    EXPECT_THAT(complaint(config), StartsWith("rotation.file is empty"));
    config.rotation.file = "R.bin";
    EXPECT_NO_THROW(validate(config));
  }
  Config unused = good_config();
  unused.rotation.file = "R.bin";
  EXPECT_THAT(complaint(unused), StartsWith("rotation.file is 'R.bin', but none of"));
}

TEST(Validate, RefusesStepsWhenNothingIsLearned) {
  Config config = good_config();
  config.rotation.r1 = config.rotation.r2 = RotationKind::kHadamard;
  EXPECT_THAT(complaint(config), StartsWith("nothing is learned"));
  config.optimizer.steps = 0;
  EXPECT_NO_THROW(validate(config));
}

TEST(Validate, RefusesStepsWhenNoLearnedRotationMeetsAQuantizer) {
  Config config = good_config();
  config.quant.activation.bits = 16;
  EXPECT_THAT(complaint(config), StartsWith("no learned rotation meets a quantizer"));
  config.quant.key.bits = 4;
  EXPECT_THAT(complaint(config), StartsWith("no learned rotation meets a quantizer")) << "keys see R3 only";
  config.quant.value.bits = 4;
  EXPECT_NO_THROW(validate(config));
  config.rotation.r2 = RotationKind::kHadamard;
  EXPECT_THAT(complaint(config), StartsWith("no learned rotation meets a quantizer"))
      << "R1 does not see values";
}

TEST(Validate, RefusesAMicroBatchAboveTheGlobalBatch) {
  Config config = good_config();
  config.batch.micro_batch = config.batch.sequences;
  EXPECT_NO_THROW(validate(config));
  ++config.batch.micro_batch;
  EXPECT_EQ(complaint(config), "batch.micro_batch is 9, more than the global batch: batch.sequences is 8");
}

TEST(Validate, WantsHeldOutTokensForHeldOutEvaluation) {
  for (auto use : {&EvalConfig::every, &EvalConfig::sequences}) {
    Config config = good_config();
    config.eval.*use = 5;
    EXPECT_THAT(complaint(config), HasSubstr(" is 5, but data.heldout is empty"));
    config.data.heldout = "h.h5";
    EXPECT_NO_THROW(validate(config));
  }
}

TEST(Validate, WantsHeldOutTokensForChannelMagnitudes) {
  Config config = good_config();
  config.eval.channel_magnitudes = true;
  EXPECT_THAT(complaint(config), HasSubstr("eval.channel_magnitudes is true, but data.heldout is empty"));
  config.data.heldout = "h.h5";
  EXPECT_NO_THROW(validate(config));
}

/// Gives the key a second legal value.
void change_value(const data::Key& key) {
  std::string before = key.get();
  for (std::string value : {"3", "true", "false", "0.5", "random", "identity", "linear", "fp32", "cpu",
                            "continue", "keep", "another/path"}) {
    if (value != before && key.set(value)) return;
  }
  ADD_FAILURE() << "no second legal value known for " << key.path;
}

TEST(Resume, IsNotHinderedByKeysThatDoNotChangeTheResult) {
  const std::set<std::string> kFree = {
      "output_dir",         "optimizer.retract_above", "batch.micro_batch",   "data.heldout",
      "compute.device",     "compute.threads",         "compute.loss_chunk",  "eval.every",
      "eval.sequences",     "eval.channel_magnitudes", "checkpoint.every",    "checkpoint.keep",
      "checkpoint.resume",  "checkpoint.write_rbin",   "checkpoint.on_error", "compute.collective_timeout",
      "compute.activations"};
  size_t seen = 0;
  Config saved = good_config(), now;
  for (const data::Key& key : bind_keys(now)) {
    now = saved;
    change_value(key);
    std::optional<std::string> difference = first_difference_that_matters(saved, now);
    EXPECT_EQ(difference.has_value(), !kFree.contains(key.path)) << key.path;
    EXPECT_THAT(difference.value_or(key.path + " was '"), StartsWith(key.path + " was '"));
    seen += kFree.count(key.path);
  }
  EXPECT_EQ(seen, kFree.size()) << "a name in this test is no key";
}

TEST(Resume, NamesTheKeyAndBothValues) {
  Config saved = good_config(), now = good_config();
  EXPECT_EQ(first_difference_that_matters(saved, now), std::nullopt);
  now.optimizer.learning_rate = 0.5;
  EXPECT_EQ(first_difference_that_matters(saved, now), "optimizer.learning_rate was '1.5' and is '0.5'");
}

TEST(Resume, MayChangeTheNumberOfStepsOnlyUnderAConstantSchedule) {
  Config saved = good_config(), now = good_config();
  now.optimizer.steps = 200;
  EXPECT_EQ(first_difference_that_matters(saved, now), "optimizer.steps was '100' and is '200'");
  now.optimizer.schedule = Schedule::kConstant;
  EXPECT_NE(first_difference_that_matters(saved, now), std::nullopt);
  saved.optimizer.schedule = Schedule::kConstant;
  EXPECT_EQ(first_difference_that_matters(saved, now), std::nullopt);
}

TEST(Resume, TakesTwoSpellingsOfAPathAsOne) {
  Config saved = good_config(), now = good_config();
  saved.model = "models/a";
  for (const char* same : {"./models/a", "models//a", "models/a/", "models/b/../a"}) {
    now.model = same;
    EXPECT_EQ(first_difference_that_matters(saved, now), std::nullopt) << same;
  }
  now.model = "models/b";
  EXPECT_EQ(first_difference_that_matters(saved, now), "model was 'models/a' and is 'models/b'");
}

}  // namespace
}  // namespace spq::trainer
