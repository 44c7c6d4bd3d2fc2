// Models in several files, and what tells models apart.
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "data/model_files.h"
#include "safetensors_files.h"
#include "support.h"

namespace spq::data {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

const char* const kIndex = "model.safetensors.index.json";

class ShardedModel : public ::testing::Test {
 protected:
  ShardedModel() {
    write_safetensors(folder_.path() / "s1.safetensors", {{"a", a_}});
    write_safetensors(folder_.path() / "s2.safetensors", {{"b", b_}, {"c", c_}});
    write_index(R"({"a":"s1.safetensors","b":"s2.safetensors","c":"s2.safetensors"})");
  }
  void write_index(const std::string& weight_map) const {
    write_text(folder_.path() / kIndex,
               fmt::format(R"({{"metadata":{{"total_size":1}},"weight_map":{}}})", weight_map));
  }
  std::string opening_error() const {
    return error_of([&] { const ModelFiles files(folder_.path()); });
  }
  const TempDir folder_;
  const at::Tensor a_ = at::full({2, 3}, 1.5), b_ = at::full({4}, -2.0), c_ = at::full({1, 3000}, 0.25);
};

TEST_F(ShardedModel, ReadsTensorsFromTheirShards) {
  const ModelFiles files(folder_.path());
  EXPECT_EQ(files.names(), (std::vector<std::string>{"a", "b", "c"}));
  EXPECT_TRUE(at::equal(files.read("a"), a_));
  EXPECT_TRUE(at::equal(files.read("c"), c_));
}

TEST_F(ShardedModel, NamesAMissingShardAndATensorInIt) {
  fs::remove(folder_.path() / "s1.safetensors");
  EXPECT_EQ(opening_error(), (folder_.path() / "s1.safetensors").string() + ": missing, but " + kIndex +
                                 " puts tensor 'a' into it");
}

TEST_F(ShardedModel, RefusesATensorThatItsShardLacks) {
  write_index(R"({"a":"s1.safetensors","b":"s2.safetensors","c":"s2.safetensors","d":"s2.safetensors"})");
  EXPECT_THAT(opening_error(), HasSubstr("tensor 'd' is not in s2.safetensors"));
}

TEST_F(ShardedModel, RefusesATensorThatTheIndexLacks) {
  write_index(R"({"a":"s1.safetensors","b":"s2.safetensors"})");
  EXPECT_THAT(opening_error(), HasSubstr("s2.safetensors: holds tensor 'c', which " + std::string(kIndex)));
}

TEST_F(ShardedModel, RefusesATruncatedShard) {
  fs::resize_file(folder_.path() / "s2.safetensors", fs::file_size(folder_.path() / "s2.safetensors") - 1);
  EXPECT_THAT(opening_error(), HasSubstr("s2.safetensors: tensor 'c'"));
}

TEST_F(ShardedModel, RefusesBadIndexFiles) {
  write_index(R"({"a":3})");
  EXPECT_THAT(opening_error(), HasSubstr("weight_map 'a' is 3, expected a file name"));
  write_index(R"({"a":"../s1.safetensors"})");
  EXPECT_THAT(opening_error(), HasSubstr("expected a file in the same folder"));
  write_index(R"({"a":".."})");
  EXPECT_THAT(opening_error(), HasSubstr("expected a file in the same folder"));
  write_index("{}");
  EXPECT_THAT(opening_error(), HasSubstr("weight_map is empty"));
  write_index(R"({"a":"s1.safetensors","a":"s2.safetensors"})");
  EXPECT_THAT(opening_error(), HasSubstr("duplicate key 'a'"));
  write_text(folder_.path() / kIndex, "{");
  EXPECT_THAT(opening_error(), HasSubstr("not valid JSON"));
  write_text(folder_.path() / kIndex, "[]");
  EXPECT_THAT(opening_error(), HasSubstr("expected an object with a weight_map"));
}

TEST_F(ShardedModel, HasTheFingerprintOfTheSameTensorsInOneFile) {
  const TempDir single;
  write_safetensors(single.path() / "model.safetensors", {{"c", c_}, {"b", b_}, {"a", a_}});
  EXPECT_EQ(ModelFiles(folder_.path()).fingerprint(), ModelFiles(single.path()).fingerprint());
}

TEST(ModelFingerprint, ChangesWithNamesShapesDtypesAndEitherEndOfTheData) {
  const TempDir folder;
  const auto fingerprint = [&](const std::string& name, const at::Tensor& tensor) {
    write_safetensors(folder.path() / "model.safetensors", {{name, tensor}});
    return ModelFiles(folder.path()).fingerprint();
  };
  const at::Tensor values = at::ones({4, 4096});
  const std::string original = fingerprint("a", values);
  EXPECT_EQ(original.size(), 64u);
  EXPECT_EQ(fingerprint("a", values), original);
  EXPECT_NE(fingerprint("b", values), original);
  EXPECT_NE(fingerprint("a", values.view({8, 2048})), original);
  EXPECT_NE(fingerprint("a", values.to(at::kHalf)), original);
  for (const int64_t position : {0, 4 * 4096 - 1}) {
    at::Tensor changed = values.clone();
    changed.view(-1).select(0, position).fill_(2);
    EXPECT_NE(fingerprint("a", changed), original) << position;
  }
}

TEST(ModelFolder, ThatHoldsNoModelIsNamed) {
  const TempDir folder;
  EXPECT_THAT(error_of([&] { const ModelFiles files(folder.path()); }),
              HasSubstr(folder.path().string() + ": holds neither model.safetensors nor"));
  EXPECT_THAT(error_of([&] { const ModelFiles files(folder.path() / "no"); }), HasSubstr("no such folder"));
}

TEST(ModelFolder, WrittenByOtherLibrariesOpens) {
  const fs::path fixtures = fs::path(SPQ_SOURCE_DIR) / "tests" / "fixtures";
  EXPECT_EQ(ModelFiles(fixtures / "bf16").dtype("model.embed_tokens.weight"), at::kBFloat16);
  EXPECT_EQ(ModelFiles(fixtures / "sharded").shape("model.norm.weight"), (std::vector<int64_t>{32}));
  EXPECT_FALSE(ModelFiles(fixtures / "tied").has("lm_head.weight"));
}

}  // namespace
}  // namespace spq::data
