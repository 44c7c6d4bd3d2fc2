#include "trainer/config_keys.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

namespace spq::trainer {
namespace {

using testing::HasSubstr;

/// True for a data member of a type that a key can have.
bool declares_value(const std::string& line) {
  for (std::string type :
       {"int64_t", "double", "bool", "std::string", "RotationKind", "Schedule", "ComputeDtype"}) {
    if (line.starts_with("  " + type + " ")) return true;
  }
  return false;
}

TEST(ConfigKeys, CoversEveryFieldOfTheStruct) {
  // A field without a key would be set by nobody.
  std::ifstream header(std::string(SPQ_SOURCE_DIR) + "/trainer/config.h");
  ASSERT_TRUE(header);
  size_t fields = 0, quantizer_fields = 0;
  bool in_quantizer = false;
  for (std::string line; std::getline(header, line);) {
    if (line.starts_with("struct ")) in_quantizer = line.starts_with("struct QuantizerConfig");
    if (declares_value(line)) ++(in_quantizer ? quantizer_fields : fields);
  }
  EXPECT_EQ(quantizer_fields, 4u);
  EXPECT_EQ(config_keys().size(), fields + 3 * quantizer_fields);
}

TEST(ConfigKeys, NamesEachPathOnceAndKeepsSectionsTogether) {
  std::set<std::string> paths, closed;
  std::string section;
  for (const Key& key : config_keys()) {
    EXPECT_TRUE(paths.insert(key.path).second) << key.path;
    std::string own = key.path.substr(0, key.path.rfind('.') + 1);
    if (own != section) {
      EXPECT_TRUE(closed.insert(section).second || section.empty()) << key.path;
      EXPECT_FALSE(closed.contains(own)) << key.path << " is apart from its section";
      section = own;
    }
  }
}

TEST(ConfigKeys, DocumentsEveryKeyInOneSentence) {
  for (const Key& key : config_keys()) {
    EXPECT_GE(key.doc.size(), 10u) << key.path;
    EXPECT_EQ(key.doc.back(), '.') << key.path;
    EXPECT_FALSE(key.type.empty()) << key.path;
    EXPECT_FALSE(key.allowed.empty()) << key.path;
  }
}

TEST(ConfigKeys, AcceptsItsOwnDefaults) {
  for (const Key& key : config_keys()) {
    Config config;
    EXPECT_EQ(key.set(config, key.get(Config{})), !key.required) << key.path;
  }
}

TEST(ConfigKeys, SetChangesThatKeyAlone) {
  for (const Key& key : config_keys()) {
    Config changed;
    std::string before = key.get(changed);
    std::string other;
    for (std::string value :
         {"3", "true", "false", "0.5", "random", "identity", "file", "linear", "fp32", "a/path"}) {
      Config trial;
      if (value != before && key.set(trial, value)) {
        other = value;
        changed = trial;
        break;
      }
    }
    ASSERT_FALSE(other.empty()) << "no second legal value known for " << key.path;
    EXPECT_EQ(key.get(changed), other);
    for (const Key& bystander : config_keys()) {
      if (bystander.path != key.path) {
        EXPECT_EQ(bystander.get(changed), bystander.get(Config{}))
            << key.path << " changed " << bystander.path;
      }
    }
  }
}

bool accepts(const std::string& path, const std::string& value) {
  const Key* key = find_key(path);
  if (key == nullptr) throw std::runtime_error("no key " + path);
  Config config;
  std::string before = key->get(config);
  bool accepted = key->set(config, value);
  EXPECT_TRUE(accepted || key->get(config) == before) << "a refused value changed " << path;
  return accepted;
}

TEST(ConfigKeys, ChecksRangesAtTheirEdges) {
  struct Edge {
    const char* path;
    std::vector<const char*> inside, outside;
  };
  const std::vector<Edge> kEdges = {
      {"quant.activation.bits", {"2", "8", "16"}, {"1", "0", "-4", "9", "15", "17"}},
      {"quant.key.group_size", {"-1", "2", "128"}, {"-2", "0", "1"}},
      {"quant.value.clip_ratio", {"1", "1.0", "0.1", "1e-3"}, {"0", "-0.5", "1.0001", "nan", "inf"}},
      {"optimizer.momentum", {"0", "0.99"}, {"1", "-0.1", "nan"}},
      {"optimizer.learning_rate", {"1.5", "1e-5"}, {"0", "-1", "inf", "1e999"}},
      {"optimizer.steps", {"0", "9223372036854775807"}, {"-1", "9223372036854775808"}},
      {"optimizer.iterations", {"1"}, {"0"}},
      {"optimizer.clip_norm", {"0", "2.5"}, {"-1"}},
      {"batch.sequence_length", {"2"}, {"1"}},
      {"checkpoint.keep", {"1"}, {"0"}},
      {"rotation.start", {"hadamard", "random", "identity", "file"}, {"learned", "Hadamard", ""}},
      {"rotation.r1", {"learned", "file"}, {"hadamard ", "none"}},
      {"rotation.r3", {"hadamard", "identity"}, {"true", "random"}},
      {"data.shuffle", {"true", "false"}, {"yes", "1", "True"}},
      {"checkpoint.resume", {"auto", "never", "runs/x/checkpoint-20.h5"}, {""}},
  };
  for (const Edge& edge : kEdges) {
    for (const char* value : edge.inside)
      EXPECT_TRUE(accepts(edge.path, value)) << edge.path << " = " << value;
    for (const char* value : edge.outside)
      EXPECT_FALSE(accepts(edge.path, value)) << edge.path << " = " << value;
  }
}

TEST(ConfigKeys, RefusesNumbersWithRestsAndFractionsOfIntegers) {
  for (const char* value : {"abc", "", "5x", "5 ", " 5", "5.0", "1e2", "0x10"}) {
    EXPECT_FALSE(accepts("optimizer.steps", value)) << value;
  }
  for (const char* value : {"abc", "", "0.5x", "0,5"})
    EXPECT_FALSE(accepts("optimizer.learning_rate", value)) << value;
}

TEST(ConfigKeys, WritesNumbersThatReadBackExactly) {
  const Key& key = *find_key("optimizer.learning_rate");
  for (double value : {0.1, 1.0 / 3.0, 1e-300, 123456789.123456789}) {
    Config config, copy;
    config.optimizer.learning_rate = value;
    ASSERT_TRUE(key.set(copy, key.get(config)));
    EXPECT_EQ(copy.optimizer.learning_rate, value);
  }
}

TEST(KeySuggestion, FindsTheMisspeltMisplacedAndSection) {
  EXPECT_THAT(key_suggestion("optimizer.lerning_rate"), HasSubstr("optimizer.learning_rate?"));
  EXPECT_THAT(key_suggestion("optimiser"), HasSubstr("mean optimizer?"));
  EXPECT_THAT(key_suggestion("learning_rate"), HasSubstr("optimizer.learning_rate?"));
  EXPECT_THAT(key_suggestion("training.setup.loss_chunk"), HasSubstr("compute.loss_chunk?"));
  EXPECT_THAT(key_suggestion("quant.activations"), HasSubstr("quant.activation?"));
  EXPECT_THAT(key_suggestion("zzzzzzzz"), HasSubstr("docs/configuration.md"));
}

TEST(ConfigKeys, TellsSectionsFromKeys) {
  EXPECT_TRUE(is_section("quant"));
  EXPECT_TRUE(is_section("quant.activation"));
  EXPECT_FALSE(is_section("quant.activation.bits"));
  EXPECT_FALSE(is_section("quan"));
  EXPECT_FALSE(is_section("model"));
}

}  // namespace
}  // namespace spq::trainer
