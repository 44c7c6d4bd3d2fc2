#include "data/config_lookup.h"

#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <vector>

#include "tests/data/config_example.h"
#include "tests/data/support.h"

namespace spq::data {
namespace {

class ConfigLookup : public testing::Test {
 protected:
  ExampleConfig config_;
  std::vector<Key> keys_ = bind_keys(config_);
};

TEST_F(ConfigLookup, FindsKeysByTheirWholePathOnly) {
  for (const Key& key : keys_) EXPECT_EQ(find_key(keys_, key.path), &key);
  for (const char* path : {"quant", "quant.key", "steps", "optimizer.step", "optimizer.steps.", ""}) {
    EXPECT_EQ(find_key(keys_, path), nullptr) << path;
  }
}

TEST_F(ConfigLookup, TellsSectionsFromKeys) {
  EXPECT_TRUE(is_section(keys_, "quant"));
  EXPECT_TRUE(is_section(keys_, "quant.activation"));
  EXPECT_FALSE(is_section(keys_, "quant.activation.bits"));
  EXPECT_FALSE(is_section(keys_, "quan"));
  EXPECT_FALSE(is_section(keys_, "model"));
}

TEST_F(ConfigLookup, SuggestsForTheMisspeltMisplacedAndSection) {
  EXPECT_EQ(key_suggestion(keys_, "optimizer.lerning_rate"), "; did you mean optimizer.learning_rate?");
  EXPECT_EQ(key_suggestion(keys_, "optimiser"), "; did you mean optimizer?");
  EXPECT_EQ(key_suggestion(keys_, "learning_rate"), "; did you mean optimizer.learning_rate?");
  EXPECT_EQ(key_suggestion(keys_, "training.setup.clip_norm"), "; did you mean optimizer.clip_norm?");
  EXPECT_EQ(key_suggestion(keys_, "quant.activations"), "; did you mean quant.activation?");
  EXPECT_EQ(key_suggestion(keys_, "zzzzzzzz"), "; docs/configuration.md lists the known keys");
}

TEST_F(ConfigLookup, ChecksFieldsThatWereSetByCode) {
  auto complaint = [&] { return error_of([&] { check_values(keys_); }); };
  EXPECT_EQ(complaint(), "model is '', expected path: a directory");
  config_.model = config_.output_dir = std::string("m");
  EXPECT_EQ(complaint(), "");
  config_.key_bits = 12;
  EXPECT_EQ(complaint(), "quant.key.bits is '12', expected integer: 2 to 8, or 16");
  config_.key_bits = 4;
  config_.learning_rate = std::numeric_limits<double>::quiet_NaN();
  EXPECT_EQ(complaint(), "optimizer.learning_rate is 'nan', expected number: above 0");
  config_.learning_rate = 1;
  config_.shape = static_cast<Shape>(7);
  EXPECT_EQ(complaint(), "rotation.shape is '(no legal value)', expected choice: round, square");
}

}  // namespace
}  // namespace spq::data
