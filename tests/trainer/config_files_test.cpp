// The configurations that come with the project.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <set>
#include <string>

#include "tests/trainer/config_test_tools.h"
#include "trainer/config_check.h"
#include "trainer/config_yaml.h"

namespace spq::trainer {
namespace {

const std::filesystem::path kFolder = std::filesystem::path(SPQ_SOURCE_DIR) / "configs";

// The folder also holds the planner's table.
bool is_config(const std::filesystem::path& path) {
  return path.extension() == ".yaml" && path.filename() != "devices.yaml";
}

Config shipped(const std::string& name) {
  return load_config(kFolder / (name + ".yaml"), {});
}

TEST(ShippedConfigs, AllLoadAndValidate) {
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(kFolder)) {
    if (!is_config(entry.path())) continue;
    EXPECT_NO_THROW(validate(load_config(entry.path(), {}))) << entry.path();
    names.insert(entry.path().stem().string());
  }
  for (const char* name :
       {"tiny-w16a4kv16", "tiny-w16a4kv4", "tiny-w16a3kv3", "llama2-7b-w16a4kv4", "llama2-13b-w16a4kv4",
        "llama2-70b-w16a4kv4", "llama3-8b-w16a4kv4", "llama3-70b-w16a4"}) {
    EXPECT_TRUE(names.contains(name)) << name;
  }
}

TEST(ShippedConfigs, EachWritesIntoAFolderOfItsOwnName) {
  for (const auto& entry : std::filesystem::directory_iterator(kFolder)) {
    if (!is_config(entry.path())) continue;
    EXPECT_EQ(load_config(entry.path(), {}).output_dir, "runs/" + entry.path().stem().string());
  }
}

TEST(ShippedConfigs, HaveTheBitWidthsOfTheirNames) {
  struct Widths {
    const char* name;
    int64_t activation, cache;
  };
  for (const Widths& expected : {Widths{"tiny-w16a4kv16", 4, 16}, Widths{"tiny-w16a4kv4", 4, 4},
                                 Widths{"tiny-w16a3kv3", 3, 3}, Widths{"llama2-7b-w16a4kv4", 4, 4},
                                 Widths{"llama2-13b-w16a4kv4", 4, 4}, Widths{"llama2-70b-w16a4kv4", 4, 4},
                                 Widths{"llama3-8b-w16a4kv4", 4, 4}, Widths{"llama3-70b-w16a4", 4, 16}}) {
    QuantConfig quant = shipped(expected.name).quant;
    EXPECT_EQ(quant.activation.bits, expected.activation) << expected.name;
    EXPECT_EQ(quant.key.bits, expected.cache) << expected.name;
    EXPECT_EQ(quant.value.bits, expected.cache) << expected.name;
  }
}

TEST(ShippedConfigs, TheFlagshipFollowsThePublishedRecipe) {
  Config config = shipped("llama3-70b-w16a4");
  EXPECT_EQ(config.batch.sequences, 8);
  EXPECT_EQ(config.batch.sequence_length, 2048);
  EXPECT_EQ(config.optimizer.steps, 100);
  EXPECT_EQ(config.optimizer.schedule, Schedule::kCosine);
  EXPECT_EQ(config.rotation.r1, RotationKind::kLearned);
  EXPECT_EQ(config.rotation.r2, RotationKind::kLearned);
  EXPECT_FALSE(config.data.shuffle);
}

}  // namespace
}  // namespace spq::trainer
