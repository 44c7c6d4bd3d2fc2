#include "data/model_writer.h"

#include <ATen/ops/full.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "data/model_files.h"
#include "data/transform_manifest.h"
#include "support.h"

namespace spq::data {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

constexpr const char* kConfig = R"({"model_type": "llama", "tie_word_embeddings": true, "rms_norm_eps": 1e-05,
  "torch_dtype": "bfloat16", "rope_theta": 500000.0, "note": "d\u00e9j\u00e0", "bos": [1, null]})";

/// A source folder with a tokenizer, and an empty place for the result.
class ModelWriterTest : public ::testing::Test {
 protected:
  ModelWriterTest() {
    fs::create_directory(source_);
    write_text(source_ / "config.json", kConfig);
    write_text(source_ / "tokenizer.json", std::string("{ }\r\n\0 \xff", 9));
    write_text(source_ / "generation_config.json", "{\"a\":  1}");
    write_text(source_ / "training_log.txt", "not part of a model");
  }
  static at::Tensor values(double value) { return at::full({4, 8}, value, at::kBFloat16); }  // 64 bytes
  std::vector<TensorSpec> specs() const {
    return {{"a", at::kBFloat16, {4, 8}}, {"b", at::kBFloat16, {4, 8}}, {"c", at::kBFloat16, {4, 8}}};
  }
  void write_all(uint64_t max_shard_bytes) {
    ModelWriter writer(source_, out_, specs(), max_shard_bytes);
    writer.write("a", values(1));
    writer.write("b", values(2));
    writer.write("c", values(3));
    writer.finish();
  }
  void expect_tensors() const {
    const ModelFiles files(out_);
    EXPECT_EQ(files.names(), (std::vector<std::string>{"a", "b", "c"}));
    EXPECT_TRUE(files.read("a").equal(values(1)));
    EXPECT_TRUE(files.read("b").equal(values(2)));
    EXPECT_TRUE(files.read("c").equal(values(3)));
  }

  TempDir folder_;
  fs::path source_ = folder_.path() / "source";
  fs::path out_ = folder_.path() / "new" / "model";
};

TEST_F(ModelWriterTest, WritesOneFileWhereEverythingFits) {
  write_all(3 * 64);
  expect_tensors();
  EXPECT_TRUE(fs::exists(out_ / "model.safetensors"));
  EXPECT_FALSE(fs::exists(out_ / "model.safetensors.index.json"));
  EXPECT_EQ(count_files(out_), 4u) << "weights, config.json and two copied files";
}

TEST_F(ModelWriterTest, SplitsIntoShardsOfAtMostTheGivenSize) {
  write_all(3 * 64 - 1);
  expect_tensors();
  EXPECT_TRUE(fs::exists(out_ / "model-00001-of-00002.safetensors"));
  EXPECT_TRUE(fs::exists(out_ / "model-00002-of-00002.safetensors"));
  const auto index = nlohmann::json::parse(read_text(out_ / "model.safetensors.index.json"));
  EXPECT_EQ(index["metadata"]["total_size"], 3 * 64);
  EXPECT_EQ(index["weight_map"]["b"], "model-00001-of-00002.safetensors");
  EXPECT_EQ(index["weight_map"]["c"], "model-00002-of-00002.safetensors");
}

TEST_F(ModelWriterTest, GivesATensorThatIsTooLargeAShardOfItsOwn) {
  write_all(1);
  expect_tensors();
  EXPECT_TRUE(fs::exists(out_ / "model-00003-of-00003.safetensors"));
}

TEST_F(ModelWriterTest, ChangesNothingInTheConfigurationButTheTie) {
  write_all(1000);
  const auto config = nlohmann::ordered_json::parse(read_text(out_ / "config.json"));
  auto expected = nlohmann::ordered_json::parse(kConfig);
  expected["tie_word_embeddings"] = false;
  EXPECT_EQ(config.dump(), expected.dump()) << "values and the order of keys";
}

TEST_F(ModelWriterTest, CopiesTokenizerAndGenerationFilesByteForByte) {
  write_all(1000);
  for (const char* name : {"tokenizer.json", "generation_config.json"}) {
    EXPECT_EQ(read_text(out_ / name), read_text(source_ / name)) << name;
  }
  EXPECT_FALSE(fs::exists(out_ / "training_log.txt"));
}

TEST_F(ModelWriterTest, RefusesAFolderThatIsNotEmptyAndLeavesItAlone) {
  fs::create_directories(out_);
  write_text(out_ / "model.safetensors", "precious");
  EXPECT_EQ(error_of([&] { write_all(1000); }),
            out_.string() + ": is not empty, expected a new or empty folder");
  EXPECT_EQ(read_text(out_ / "model.safetensors"), "precious");
  EXPECT_EQ(count_files(out_), 1u);
}

TEST_F(ModelWriterTest, RefusesTheFolderOfAFinishedModelAndThatOfTheSource) {
  write_all(1000);
  EXPECT_THAT(error_of([&] { write_all(1000); }), HasSubstr("is not empty"));
  EXPECT_THAT(error_of([&] { const ModelWriter writer(source_, source_, specs()); }),
              HasSubstr("is not empty"));
  expect_tensors();
}

TEST_F(ModelWriterTest, StartsOverWhereItWasInterrupted) {
  {
    ModelWriter writer(source_, out_, specs(), 64);
    writer.write("a", values(9));
    writer.write("b", values(9));
  }
  EXPECT_TRUE(fs::exists(out_ / "model-00001-of-00003.safetensors"));
  EXPECT_FALSE(fs::exists(out_ / "config.json")) << "no program may take this for a model";
  write_text(out_ / ".model-00003-of-00003.safetensors.17.partial", "killed while it wrote");
  write_text(out_ / kManifestFile, "{}");
  write_text(out_ / "notes.txt", "not ours");
  write_all(1000);
  expect_tensors();
  EXPECT_EQ(count_files(out_), 5u) << "one weight file, config.json, two copied files, the notes";
  EXPECT_EQ(read_text(out_ / "notes.txt"), "not ours");
}

TEST_F(ModelWriterTest, NamesATensorThatIsMissingUnknownOrGivenTwice) {
  ModelWriter writer(source_, out_, specs(), 2 * 64);
  const auto write_error = [&](const char* name) { return error_of([&] { writer.write(name, values(1)); }); };
  EXPECT_THAT(write_error("d"), HasSubstr("tensor 'd' was not announced"));
  EXPECT_EQ(write_error("a"), "");
  EXPECT_THAT(write_error("a"), HasSubstr("tensor 'a' is written twice"));
  EXPECT_THAT(error_of([&] { writer.finish(); }), HasSubstr("tensor 'b' was never written"));
  EXPECT_EQ(write_error("b"), "");
  EXPECT_THAT(write_error("a"), HasSubstr("tensor 'a' is written twice")) << "in a file that is done";
  EXPECT_THAT(error_of([&] { writer.finish(); }), HasSubstr("tensor 'c' was never written"));
  EXPECT_FALSE(fs::exists(out_ / "config.json"));
}

TEST_F(ModelWriterTest, NeedsTheConfigurationOfTheSource) {
  fs::remove(source_ / "config.json");
  EXPECT_THAT(error_of([&] { write_all(1000); }), HasSubstr((source_ / "config.json").string()));
  EXPECT_FALSE(fs::exists(out_));
}

}  // namespace
}  // namespace spq::data
