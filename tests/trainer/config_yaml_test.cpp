#include "trainer/config_yaml.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/trainer/config_test_tools.h"
#include "trainer/config_keys.h"

namespace spq::trainer {
namespace {

using testing::AllOf;
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

TEST(ConfigYaml, RefusesADottedKeyAndSaysHowToNestIt) {
  EXPECT_EQ(yaml_error("model: m\noptimizer.steps: 5\n"),
            "a.yaml:2:1: key optimizer.steps is written with a dot, expected nested sections");
}

TEST(ConfigYaml, RefusesADuplicateKeyAtTheTopAndInsideSections) {
  EXPECT_EQ(yaml_error("model: m\noutput_dir: o\nmodel: n\n"),
            "a.yaml:3:1: key model is given twice, first on line 1");
  EXPECT_EQ(yaml_error("quant:\n  key:\n    bits: 4\n    symmetric: true\n    bits: 4\n"),
            "a.yaml:5:5: key quant.key.bits is given twice, first on line 3");
  EXPECT_EQ(yaml_error("quant: {key: {bits: 4}, key: {bits: 3}}\n"),
            "a.yaml:1:25: key quant.key is given twice, first on line 1");
}

TEST(ConfigYaml, RefusesAWrongType) {
  EXPECT_EQ(yaml_error("optimizer:\n  steps: abc\n"),
            "a.yaml:2:10: optimizer.steps is 'abc', expected integer: 0 or more");
  EXPECT_EQ(yaml_error("optimizer:\n  steps: [1, 2]\n"),
            "a.yaml:2:10: optimizer.steps is a list, expected integer: 0 or more");
  EXPECT_EQ(yaml_error("optimizer:\n  steps: {a: 1}\n"),
            "a.yaml:2:10: optimizer.steps is a section, expected integer: 0 or more");
  EXPECT_EQ(yaml_error("optimizer:\n  steps:\n"),
            "a.yaml:2:3: optimizer.steps is nothing, expected integer: 0 or more");
  EXPECT_EQ(yaml_error("optimizer: 5\n"), "a.yaml:1:12: optimizer is a value, expected a section of keys");
  EXPECT_EQ(yaml_error("optimizer: [steps, 5]\n"),
            "a.yaml:1:12: optimizer is a list, expected a section of keys");
  EXPECT_THAT(yaml_error("? [a, b]\n: 1\n"), HasSubstr("the name of a key is a list"));
}

TEST(ConfigYaml, RefusesAValueOutOfRange) {
  EXPECT_EQ(yaml_error("quant:\n  value: {bits: 9}\n"),
            "a.yaml:2:17: quant.value.bits is '9', expected integer: 2 to 8, or 16");
  EXPECT_EQ(yaml_error("rotation: {r1: had}\n"),
            "a.yaml:1:16: rotation.r1 is 'had', expected choice: learned, hadamard, random, identity, file");
}

TEST(ConfigYaml, RefusesMalformedYamlWithItsPlace) {
  EXPECT_THAT(yaml_error("model: m\nquant: {key: 4\n"),
              AllOf(StartsWith("a.yaml:"), HasSubstr("malformed YAML")));
  EXPECT_THAT(yaml_error("model: m\n  bad: indent\n"), StartsWith("a.yaml:2:"));
  EXPECT_THAT(yaml_error("model: *nowhere\n"), StartsWith("a.yaml:1:"));
}

TEST(ConfigYaml, RefusesAQuoteThatIsNotClosed) {
  std::string text = std::string(kRequired) + "rotation:\n  file: ";
  for (const char* open : {"\"R.bin", "'R.bin", "\"R.bin\n", "'R.bin\neval: {every: 1}\n"}) {
    EXPECT_THAT(yaml_error(text + open), AllOf(StartsWith("a.yaml:"), HasSubstr("quote"))) << open;
  }
}

TEST(ConfigYaml, RefusesTextThatHoldsNoConfiguration) {
  for (const char* text : {"", "\n\n", "# only a comment\n", "---\n", "~\n"}) {
    EXPECT_THAT(yaml_error(text), HasSubstr("a.yaml: no configuration in it")) << text;
  }
  EXPECT_THAT(yaml_error("just words\n"), HasSubstr("a.yaml:1:1: the file is a value"));
  EXPECT_THAT(yaml_error("- model\n"), HasSubstr("the file is a list"));
  EXPECT_THAT(yaml_error(std::string(kRequired) + "---\nmodel: n\n"),
              HasSubstr("2 YAML documents, expected one"));
}

TEST(ConfigYaml, TakesASectionWithoutKeysAsDefaults) {
  Config config = config_from_yaml_text(std::string(kRequired) + "optimizer:\n  # steps: 3\n", "a.yaml");
  EXPECT_EQ(config.optimizer.steps, OptimizerConfig{}.steps);
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
  for (const Key& key : config_keys()) EXPECT_EQ(key.get(read), key.get(config)) << key.path;
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

TEST(LoadConfig, NamesTheOverrideThatIsWrong) {
  TemporaryFolder folder;
  auto path = folder.write("c.yaml", kRequired);
  auto with = [&](const std::string& text) {
    return error_of([&] { load_config(path, std::vector<std::string>{text}); });
  };
  EXPECT_EQ(with("optimizer.stepz=50"),
            "--set optimizer.stepz=50: unknown key optimizer.stepz; did you mean optimizer.steps?");
  EXPECT_EQ(with("optimizer.steps=many"),
            "--set optimizer.steps=many: optimizer.steps is 'many', expected integer: 0 or more");
  EXPECT_EQ(with("optimizer=3"), "--set optimizer=3: optimizer is a section, expected a key in it");
  EXPECT_EQ(with("optimizer.steps"), "--set optimizer.steps: expected key=value");
  EXPECT_EQ(with("=3"), "--set =3: expected key=value");
  EXPECT_THAT(with("model="), StartsWith("--set model=: model is ''"));
}

TEST(LoadConfig, NamesAFileThatCannotBeRead) {
  TemporaryFolder folder;
  std::string missing = (folder.path() / "none.yaml").string();
  EXPECT_EQ(error_of([&] { load_config(missing, {}); }),
            missing + ": cannot open the configuration: No such file or directory");
  EXPECT_EQ(error_of([&] { load_config(folder.path(), {}); }),
            folder.path().string() + ": is a directory, expected a configuration file");
}

TEST(LoadConfig, NamesTheFileInErrorsOfItsText) {
  TemporaryFolder folder;
  auto path = folder.write("c.yaml", "model: m\nmodle: n\n");
  EXPECT_THAT(error_of([&] { load_config(path, {}); }),
              StartsWith(path.string() + ":2:1: unknown key modle"));
}

}  // namespace
}  // namespace spq::trainer
