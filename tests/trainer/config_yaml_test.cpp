#include "trainer/config_yaml.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/trainer/config_test_tools.h"
#include "trainer/config_keys.h"

namespace spq::trainer {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

TEST(ConfigYaml, ReadsNestedKeysAndKeepsOtherDefaults) {
  Config config = config_from_yaml_text(
      "model: m\noutput_dir: \"o o\"\n"
      "data: {train: t, shuffle: true}\n"
      "quant:\n  activation:\n    bits: 4\n    symmetric: true\n  key: {bits: 3, clip_ratio: 0.95}\n"
      "rotation: {r2: identity, r4: identity}\n"
      "optimizer:\n  learning_rate: 1e-2\n  schedule: linear\n",
      "a.yaml");
  EXPECT_EQ(config.model, "m");
  EXPECT_EQ(config.output_dir, "o o");
  EXPECT_TRUE(config.data.shuffle);
  EXPECT_EQ(config.quant.activation.bits, 4);
  EXPECT_TRUE(config.quant.activation.symmetric);
  EXPECT_EQ(config.quant.key.bits, 3);
  EXPECT_EQ(config.quant.key.clip_ratio, 0.95);
  EXPECT_EQ(config.quant.value.bits, 16);
  EXPECT_EQ(config.rotation.r1, RotationKind::kLearned);
  EXPECT_EQ(config.rotation.r2, RotationKind::kIdentity);
  EXPECT_TRUE(config.rotation.r3_hadamard);
  EXPECT_FALSE(config.rotation.r4_hadamard);
  EXPECT_EQ(config.optimizer.learning_rate, 0.01);
  EXPECT_EQ(config.optimizer.schedule, Schedule::kLinear);
  EXPECT_EQ(config.optimizer.steps, OptimizerConfig{}.steps);
}

TEST(ConfigYaml, RefusesAnUnknownKeyWithPlaceAndTheNearestKey) {
  EXPECT_EQ(yaml_error("model: m\noptimizer:\n  lerning_rate: 1\n"),
            "a.yaml:3:3: unknown key optimizer.lerning_rate; did you mean optimizer.learning_rate?");
  EXPECT_THAT(yaml_error("optimiser:\n  steps: 1\n"),
              StartsWith("a.yaml:1:1: unknown key optimiser; did you mean optimizer?"));
}

TEST(ConfigYaml, RefusesAValueOutOfRange) {
  EXPECT_EQ(yaml_error("quant:\n  value: {bits: 9}\n"),
            "a.yaml:2:17: quant.value.bits is '9', expected integer: 2 to 8, or 16");
  EXPECT_EQ(yaml_error("rotation: {r1: had}\n"),
            "a.yaml:1:16: rotation.r1 is 'had', expected choice: learned, hadamard, random, identity, file");
}

TEST(ConfigYaml, NamesAllMissingRequiredKeys) {
  EXPECT_EQ(yaml_error("optimizer: {steps: 1}\n"),
            "a.yaml: required keys are missing: model (a directory), output_dir (a directory), data.train (a "
            "file)");
  EXPECT_THAT(yaml_error("model: m\noutput_dir: \"\"\ndata: {train: t}\n"),
              StartsWith("a.yaml:2:13: output_dir is ''"));
}

TEST(ConfigYaml, WritesEveryKeyAndReadsItBackEqual) {
  Config config = minimal_config();
  config.model = "odd \"name\" \\ # : {x}\n\x01 \xc3\xa4";
  config.data.heldout = "null";
  config.rotation.file = "";
  config.quant.key = {.bits = 3, .symmetric = true, .group_size = 32, .clip_ratio = 1.0 / 3.0};
  config.optimizer.learning_rate = 1e-7;
  config.optimizer.schedule = Schedule::kConstant;
  config.rotation.r3_hadamard = false;
  config.compute.dtype = ComputeDtype::kBf16;
  config.checkpoint.resume = "true";
  std::string yaml = to_yaml(config);
  Config read = config_from_yaml_text(yaml, "resolved");
  std::vector<data::Key> keys = bind_keys(config), keys_read = bind_keys(read);
  for (size_t i = 0; i < keys.size(); ++i) EXPECT_EQ(keys_read[i].get(), keys[i].get()) << keys[i].path;
  EXPECT_EQ(to_yaml(read), yaml);
  EXPECT_THAT(yaml, HasSubstr("quant:\n  activation:\n    bits: 16\n"));
  EXPECT_THAT(yaml, HasSubstr("  key:\n    bits: 3\n    symmetric: true\n"));
}

TEST(LoadConfig, AppliesOverridesInOrderAfterTheFile) {
  TemporaryFolder folder;
  auto path = folder.write("c.yaml", "model: m\ndata: {train: t}\noptimizer: {steps: 7}\n");
  std::vector<std::string> overrides = {"optimizer.steps=50", "output_dir=a=b", "optimizer.steps=60",
                                        "quant.activation.bits=4"};
  Config config = load_config(path, overrides);
  EXPECT_EQ(config.optimizer.steps, 60);
  EXPECT_EQ(config.output_dir, "a=b");
  EXPECT_EQ(config.quant.activation.bits, 4);
}

TEST(LoadConfig, NamesTheFileInErrorsOfItsText) {
  TemporaryFolder folder;
  auto path = folder.write("c.yaml", "model: m\nmodle: n\n");
  EXPECT_THAT(error_of([&] { load_config(path, {}); }),
              StartsWith(path.string() + ":2:1: unknown key modle"));
}

}  // namespace
}  // namespace spq::trainer
