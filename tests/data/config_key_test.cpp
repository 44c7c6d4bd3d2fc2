#include "data/config_key.h"

#include <gtest/gtest.h>

#include <stdexcept>
#include <string>
#include <vector>

#include "data/config_lookup.h"
#include "tests/data/config_example.h"

namespace spq::data {
namespace {

bool accepts(const std::string& path, const std::string& value) {
  ExampleConfig config;
  std::vector<Key> keys = bind_keys(config);
  const Key* key = find_key(keys, path);
  if (key == nullptr) throw std::runtime_error("no key " + path);
  std::string before = key->get();
  bool accepted = key->set(value);
  EXPECT_TRUE(accepted || key->get() == before) << "a refused value changed " << path;
  return accepted;
}

TEST(ConfigKey, ChecksValuesAtTheirEdges) {
  struct Edge {
    const char* path;
    std::vector<const char*> inside, outside;
  };
  const std::vector<Edge> kEdges = {
      {"quant.key.bits", {"2", "8", "16"}, {"1", "0", "-4", "9", "15", "17"}},
      {"quant.key.group_size", {"-1", "2", "128"}, {"-2", "0", "1"}},
      {"quant.key.clip_ratio", {"1", "1.0", "0.1", "1e-3"}, {"0", "-0.5", "1.0001", "nan", "inf"}},
      {"quant.key.symmetric", {"true", "false"}, {"yes", "1", "True", ""}},
      {"rotation.shape", {"round", "square"}, {"Round", "round ", "oval", ""}},
      {"rotation.r4", {"hadamard", "identity"}, {"true", "random"}},
      {"rotation.file", {"", "R.bin"}, {}},
      {"model", {"a/directory"}, {""}},
      {"optimizer.steps", {"0", "9223372036854775807"}, {"-1", "9223372036854775808"}},
      {"optimizer.learning_rate", {"1.5", "1e-5"}, {"0", "-1", "inf", "1e999"}},
      {"optimizer.clip_norm", {"0", "2.5"}, {"-1", "nan"}},
      {"checkpoint.resume", {"auto", "runs/x/checkpoint-20.h5"}, {""}},
  };
  for (const Edge& edge : kEdges) {
    for (const char* value : edge.inside)
      EXPECT_TRUE(accepts(edge.path, value)) << edge.path << " = " << value;
    for (const char* value : edge.outside)
      EXPECT_FALSE(accepts(edge.path, value)) << edge.path << " = " << value;
  }
}

TEST(ConfigKey, RefusesNumbersWithRestsAndFractionsOfIntegers) {
  for (const char* value : {"abc", "", "5x", "5 ", " 5", "5.0", "1e2", "0x10"}) {
    EXPECT_FALSE(accepts("optimizer.steps", value)) << value;
  }
  for (const char* value : {"abc", "", "0.5x", "0,5"})
    EXPECT_FALSE(accepts("optimizer.learning_rate", value)) << value;
}

TEST(ConfigKey, WritesNumbersThatReadBackExactly) {
  ExampleConfig config, copy;
  std::vector<Key> keys = bind_keys(config), copy_keys = bind_keys(copy);
  for (double value : {0.1, 1.0 / 3.0, 1e-300, 123456789.123456789}) {
    config.learning_rate = value;
    ASSERT_TRUE(find_key(copy_keys, "optimizer.learning_rate")
                    ->set(find_key(keys, "optimizer.learning_rate")->get()));
    EXPECT_EQ(copy.learning_rate, value);
  }
}

TEST(ConfigKey, ReadsAndWritesTheFieldItIsBoundTo) {
  ExampleConfig config, other;
  std::vector<Key> keys = bind_keys(config);
  Key copy = *find_key(keys, "optimizer.steps");
  config.steps = 7;
  EXPECT_EQ(copy.get(), "7");
  EXPECT_TRUE(copy.set("8"));
  EXPECT_EQ(config.steps, 8);
  EXPECT_EQ(other.steps, ExampleConfig{}.steps);
}

TEST(ConfigKey, NamesTypesAndLegalValues) {
  ExampleConfig config;
  std::vector<Key> keys = bind_keys(config);
  auto values = [&](const std::string& path) {
    const Key& key = *find_key(keys, path);
    return key.type + ": " + key.allowed;
  };
  EXPECT_EQ(values("optimizer.steps"), "integer: 0 or more");
  EXPECT_EQ(values("optimizer.learning_rate"), "number: above 0");
  EXPECT_EQ(values("quant.key.symmetric"), "boolean: true, false");
  EXPECT_EQ(values("rotation.shape"), "choice: round, square");
  EXPECT_EQ(values("model"), "path: a directory");
  EXPECT_EQ(values("checkpoint.resume"), "text: auto, or a file");
}

}  // namespace
}  // namespace spq::data
