#include "data/config_yaml.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "tests/data/config_example.h"
#include "tests/data/support.h"

namespace spq::data {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

constexpr const char* kRequired = "model: m\noutput_dir: o\n";

ExampleConfig read(const std::string& text) {
  ExampleConfig config;
  read_config_text(text, "a.yaml", bind_keys(config));
  return config;
}

ExampleConfig read_file(const std::filesystem::path& path, const std::vector<std::string>& overrides = {}) {
  ExampleConfig config;
  read_config_file(path, overrides, bind_keys(config));
  return config;
}

std::string yaml_error(const std::string& text) {
  return error_of([&] { read(text); });
}

TEST(ConfigYaml, ReadsNestedKeysAndKeepsOtherDefaults) {
  ExampleConfig config = read(
      "model: m\noutput_dir: \"o o\"\nquant:\n  key:\n    bits: 3\n    symmetric: true\n"
      "rotation: {shape: square, r4: identity}\noptimizer:\n  learning_rate: 1e-2\n");
  EXPECT_EQ(config.model, "m");
  EXPECT_EQ(config.output_dir, "o o");
  EXPECT_EQ(config.key_bits, 3);
  EXPECT_TRUE(config.key_symmetric);
  EXPECT_EQ(config.shape, Shape::kSquare);
  EXPECT_FALSE(config.r4_hadamard);
  EXPECT_EQ(config.learning_rate, 0.01);
  EXPECT_EQ(config.activation_bits, 16);
  EXPECT_EQ(config.steps, 100);
}

TEST(ConfigYaml, RefusesAnUnknownKeyWithPlaceAndTheNearestKey) {
  EXPECT_EQ(yaml_error("model: m\noptimizer:\n  lerning_rate: 1\n"),
            "a.yaml:3:3: unknown key optimizer.lerning_rate; did you mean optimizer.learning_rate?");
}

TEST(ConfigYaml, NamesAllMissingRequiredKeys) {
  EXPECT_EQ(yaml_error("optimizer: {steps: 1}\n"),
            "a.yaml: required keys are missing: model (a directory), output_dir (a directory)");
  EXPECT_EQ(yaml_error("model: m\noutput_dir: \"\"\n"),
            "a.yaml:2:13: output_dir is '', expected path: a directory");
}

TEST(ConfigYaml, WritesEachSectionOnceWithTextInQuotes) {
  ExampleConfig config = read(kRequired);
  EXPECT_THAT(config_to_yaml(bind_keys(config)), StartsWith("model: \"m\"\n"
                                                            "output_dir: \"o\"\n"
                                                            "quant:\n"
                                                            "  activation:\n"
                                                            "    bits: 16\n"
                                                            "  key:\n"
                                                            "    bits: 16\n"
                                                            "    symmetric: false\n"
                                                            "    group_size: -1\n"
                                                            "    clip_ratio: 1\n"
                                                            "rotation:\n"
                                                            "  shape: round\n"));
}

TEST(ConfigYaml, ReadsBackWhatItWrites) {
  ExampleConfig config = read(kRequired);
  config.model = "odd \"name\" \\ # : {x}\n\x01 \xc3\xa4";
  config.output_dir = "null";
  config.resume = "true";
  config.clip_ratio = 1.0 / 3.0;
  config.shape = Shape::kSquare;
  std::string yaml = config_to_yaml(bind_keys(config));
  ExampleConfig copy = read(yaml);
  EXPECT_EQ(copy.model, config.model);
  EXPECT_EQ(copy.output_dir, "null");
  EXPECT_EQ(copy.resume, "true");
  EXPECT_EQ(copy.clip_ratio, config.clip_ratio);
  EXPECT_EQ(copy.shape, Shape::kSquare);
  EXPECT_EQ(config_to_yaml(bind_keys(copy)), yaml);
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
  ExampleConfig config = read(std::string(kRequired) + "optimizer:\n  # steps: 3\n");
  EXPECT_EQ(config.steps, ExampleConfig{}.steps);
}

TEST(ConfigFile, NamesTheOverrideThatIsWrong) {
  TempDir folder;
  auto path = folder.path() / "c.yaml";
  write_text(path, kRequired);
  auto with = [&](const std::string& text) { return error_of([&] { read_file(path, {text}); }); };
  EXPECT_EQ(with("optimizer.stepz=50"),
            "--set optimizer.stepz=50: unknown key optimizer.stepz; did you mean optimizer.steps?");
  EXPECT_EQ(with("optimizer.steps=many"),
            "--set optimizer.steps=many: optimizer.steps is 'many', expected integer: 0 or more");
  EXPECT_EQ(with("optimizer=3"), "--set optimizer=3: optimizer is a section, expected a key in it");
  EXPECT_EQ(with("optimizer.steps"), "--set optimizer.steps: expected key=value");
  EXPECT_EQ(with("=3"), "--set =3: expected key=value");
  EXPECT_THAT(with("model="), StartsWith("--set model=: model is ''"));
}

TEST(ConfigFile, NamesAFileThatCannotBeRead) {
  TempDir folder;
  std::string missing = (folder.path() / "none.yaml").string();
  EXPECT_EQ(error_of([&] { read_file(missing); }),
            missing + ": cannot open the configuration: No such file or directory");
  EXPECT_EQ(error_of([&] { read_file(folder.path()); }),
            folder.path().string() + ": is a directory, expected a configuration file");
}

TEST(ConfigFile, AppliesOverridesInOrderAfterTheFile) {
  TempDir folder;
  auto path = folder.path() / "c.yaml";
  write_text(path, "model: m\noptimizer: {steps: 7}\n");
  ExampleConfig config = read_file(
      path, {"optimizer.steps=50", "output_dir=a=b", "optimizer.steps=60", "quant.activation.bits=4"});
  EXPECT_EQ(config.steps, 60);
  EXPECT_EQ(config.output_dir, "a=b") << "an override may give a required key";
  EXPECT_EQ(config.activation_bits, 4);
}

}  // namespace
}  // namespace spq::data
