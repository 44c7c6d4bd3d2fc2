#include "trainer/config_keys.h"

#include <gtest/gtest.h>

#include <fstream>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include "data/config_lookup.h"

namespace spq::trainer {
namespace {

using data::Key;

/// True for a data member of a type that a key can have.
bool declares_value(const std::string& line) {
  for (std::string type : {"int64_t", "double", "bool", "std::string", "RotationKind", "Schedule",
                           "ComputeDevice", "ComputeDtype", "Activations"}) {
    if (line.starts_with("  " + type + " ")) return true;
  }
  return false;
}

size_t declared_values(const std::string& header) {
  std::ifstream file(std::string(SPQ_SOURCE_DIR) + "/" + header);
  EXPECT_TRUE(file) << header;
  size_t values = 0;
  for (std::string line; std::getline(file, line);) values += declares_value(line);
  return values;
}

TEST(ConfigKeys, CoversEveryFieldOfTheStruct) {
  // A field without a key would be set by nobody.
  size_t fields = declared_values("trainer/config.h");
  size_t quantizer_fields = declared_values("model/quant_config.h");
  EXPECT_EQ(quantizer_fields, 4u + 1u) << "of each of three quantizers, and the bits of down_proj's input";
  Config config;
  EXPECT_EQ(bind_keys(config).size(), fields + 3 * 4 + 1);
}

TEST(ConfigKeys, NamesEachPathOnceAndKeepsSectionsTogether) {
  std::set<std::string> paths, closed;
  std::string section;
  Config config;
  for (const Key& key : bind_keys(config)) {
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
  Config config;
  for (const Key& key : bind_keys(config)) {
    EXPECT_GE(key.doc.size(), 10u) << key.path;
    EXPECT_EQ(key.doc.back(), '.') << key.path;
    EXPECT_FALSE(key.type.empty()) << key.path;
    EXPECT_FALSE(key.allowed.empty()) << key.path;
  }
}

TEST(ConfigKeys, AcceptsItsOwnDefaults) {
  Config config;
  for (const Key& key : bind_keys(config)) EXPECT_EQ(key.set(key.get()), !key.required) << key.path;
}

/// Gives the key a second legal value and returns it; "" where none is known.
std::string change_value(const Key& key) {
  std::string before = key.get();
  for (std::string value : {"3", "true", "false", "0.5", "random", "identity", "file", "linear", "fp32",
                            "cpu", "keep", "continue", "a/path"}) {
    if (value != before && key.set(value)) return value;
  }
  return "";
}

TEST(ConfigKeys, SetChangesThatKeyAlone) {
  Config defaults, changed;
  const std::vector<Key> before = bind_keys(defaults), keys = bind_keys(changed);
  for (const Key& key : keys) {
    changed = Config{};
    std::string other = change_value(key);
    ASSERT_FALSE(other.empty()) << "no second legal value known for " << key.path;
    EXPECT_EQ(key.get(), other);
    for (size_t i = 0; i < keys.size(); ++i) {
      if (keys[i].path != key.path) {
        EXPECT_EQ(keys[i].get(), before[i].get()) << key.path << " changed " << keys[i].path;
      }
    }
  }
}

bool accepts(const std::string& path, const std::string& value) {
  Config config;
  std::vector<Key> keys = bind_keys(config);
  const Key* key = data::find_key(keys, path);
  if (key == nullptr) throw std::runtime_error("no key " + path);
  std::string before = key->get();
  bool accepted = key->set(value);
  EXPECT_TRUE(accepted || key->get() == before) << "a refused value changed " << path;
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

}  // namespace
}  // namespace spq::trainer
