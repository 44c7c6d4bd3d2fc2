#include "data/model_writer.h"

#include <ATen/ops/full.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <unistd.h>

#include <nlohmann/json.hpp>

#include "data/model_files.h"
#include "support.h"

namespace spq::data {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

constexpr const char* kConfig = R"({"model_type": "llama", "tie_word_embeddings": true, "rms_norm_eps": 1e-05,
  "torch_dtype": "bfloat16", "rope_theta": 500000.0, "note": "d\u00e9j\u00e0", "bos": [1, null]})";

constexpr const char* kRun = "weights.bits: 4\nrotate.seed: 1\n";

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
  using Shards = std::vector<ModelWriter::ShardSpec>;
  static TensorSpec spec(const char* name) { return {name, at::kBFloat16, {4, 8}}; }
  static Shards one_shard() { return {{spec("a"), spec("b"), spec("c")}}; }
  static Shards two_shards() { return {{spec("a")}, {spec("b"), spec("c")}}; }
  void write_all(const Shards& shards) {
    ModelWriter writer(source_, out_, shards, kRun);
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

TEST_F(ModelWriterTest, WritesOneShardAsOneFileWithoutAnIndex) {
  write_all(one_shard());
  expect_tensors();
  EXPECT_TRUE(fs::exists(out_ / "model.safetensors"));
  EXPECT_FALSE(fs::exists(out_ / "model.safetensors.index.json"));
  EXPECT_EQ(count_files(out_), 4u) << "weights, config.json and two copied files";
}

TEST_F(ModelWriterTest, WritesSeveralShardsWithAnIndex) {
  write_all(two_shards());
  expect_tensors();
  EXPECT_TRUE(fs::exists(out_ / "model-00001-of-00002.safetensors"));
  EXPECT_TRUE(fs::exists(out_ / "model-00002-of-00002.safetensors"));
  const auto index = nlohmann::json::parse(read_text(out_ / "model.safetensors.index.json"));
  EXPECT_EQ(index["metadata"]["total_size"], 3 * 64);
  EXPECT_EQ(index["weight_map"]["a"], "model-00001-of-00002.safetensors");
  EXPECT_EQ(index["weight_map"]["b"], "model-00002-of-00002.safetensors");
  EXPECT_EQ(index["weight_map"]["c"], "model-00002-of-00002.safetensors");
}

TEST_F(ModelWriterTest, ChangesNothingInTheConfigurationButTheTie) {
  write_all(one_shard());
  const auto config = nlohmann::ordered_json::parse(read_text(out_ / "config.json"));
  auto expected = nlohmann::ordered_json::parse(kConfig);
  expected["tie_word_embeddings"] = false;
  EXPECT_EQ(config.dump(), expected.dump()) << "values and the order of keys";
}

TEST_F(ModelWriterTest, CopiesTokenizerAndGenerationFilesByteForByte) {
  write_all(one_shard());
  for (const char* name : {"tokenizer.json", "generation_config.json"}) {
    EXPECT_EQ(read_text(out_ / name), read_text(source_ / name)) << name;
  }
  EXPECT_FALSE(fs::exists(out_ / "training_log.txt"));
}

TEST_F(ModelWriterTest, RefusesAFolderThatIsNotEmptyAndLeavesItAlone) {
  fs::create_directories(out_);
  write_text(out_ / "model.safetensors", "precious");
  EXPECT_EQ(error_of([&] { write_all(one_shard()); }),
            out_.string() + ": is not empty, expected a new or empty folder");
  EXPECT_EQ(read_text(out_ / "model.safetensors"), "precious");
  EXPECT_EQ(count_files(out_), 1u);
}

TEST_F(ModelWriterTest, RefusesTheFolderOfAFinishedModelAndThatOfTheSource) {
  write_all(one_shard());
  EXPECT_THAT(error_of([&] { write_all(one_shard()); }), HasSubstr("is not empty"));
  EXPECT_THAT(error_of([&] { const ModelWriter writer(source_, source_, one_shard(), kRun); }),
              HasSubstr("is not empty"));
  expect_tensors();
}

TEST_F(ModelWriterTest, KeepsTheFilesThatAnInterruptedWriterOfTheSameRunFinished) {
  {
    ModelWriter writer(source_, out_, two_shards(), kRun);
    EXPECT_FALSE(writer.has(0));
    writer.write("a", values(1));
    writer.write("b", values(9));
    EXPECT_TRUE(writer.has(0));
  }
  EXPECT_FALSE(fs::exists(out_ / "config.json")) << "no program may take this for a model";
  write_text(out_ / ".model-00002-of-00002.safetensors.17.partial", "killed while it wrote");
  write_text(out_ / "notes.txt", "not ours");
  ModelWriter writer(source_, out_, two_shards(), kRun);
  EXPECT_TRUE(writer.has(0));
  EXPECT_FALSE(writer.has(1)) << "of two tensors one was written";
  EXPECT_TRUE(writer.read("a").equal(values(1)));
  EXPECT_THAT(error_of([&] { writer.read("b"); }), HasSubstr("tensor 'b' is not written yet"));
  EXPECT_THAT(error_of([&] { writer.write("a", values(1)); }), HasSubstr("tensor 'a' is written twice"));
  writer.write("b", values(2));
  writer.write("c", values(3));
  writer.finish();
  expect_tensors();
  EXPECT_EQ(count_files(out_), 7u) << "two weight files, index, config.json, two copied files, the notes";
}

TEST_F(ModelWriterTest, DoesNotGoOnWithAnotherRunsFiles) {
  {
    ModelWriter writer(source_, out_, two_shards(), kRun);
    writer.write("a", values(1));
  }
  const std::string message = error_of(
      [&] { const ModelWriter writer(source_, out_, two_shards(), "weights.bits: 3\nrotate.seed: 1\n"); });
  EXPECT_THAT(message, HasSubstr("'weights.bits: 4' there, 'weights.bits: 3' now"));
  EXPECT_THAT(message, HasSubstr(out_.string()));
  EXPECT_THAT(error_of([&] { const ModelWriter writer(source_, out_, two_shards(), "weights.bits: 4\n"); }),
              HasSubstr("'rotate.seed: 1' there, 'nothing' now"));
  EXPECT_TRUE(fs::exists(out_ / "model-00001-of-00002.safetensors")) << "nothing is lost";
}

TEST_F(ModelWriterTest, RefusesAFileThatIsNotWhatItWouldHaveWritten) {
  { const ModelWriter writer(source_, out_, two_shards(), kRun); }
  SafetensorsWriter other(out_ / "model-00001-of-00002.safetensors", {{"a", at::kBFloat16, {8, 8}}});
  other.write("a", at::full({8, 8}, 1, at::kBFloat16));
  other.finish();
  EXPECT_THAT(error_of([&] { const ModelWriter writer(source_, out_, two_shards(), kRun); }),
              HasSubstr("model-00001-of-00002.safetensors: is not what an interrupted run"));
}

TEST_F(ModelWriterTest, LetsNoSecondWriterIntoItsFolder) {
  const ModelWriter writer(source_, out_, one_shard(), kRun);
  EXPECT_THAT(error_of([&] { const ModelWriter second(source_, out_, one_shard(), kRun); }),
              HasSubstr("in use by another run (process " + std::to_string(getpid())));
}

TEST_F(ModelWriterTest, NamesATensorThatIsMissingUnknownOrGivenTwice) {
  ModelWriter writer(source_, out_, {{spec("a"), spec("b")}, {spec("c")}}, kRun);
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
  EXPECT_THAT(error_of([&] { write_all(one_shard()); }), HasSubstr((source_ / "config.json").string()));
  EXPECT_FALSE(fs::exists(out_));
}

}  // namespace
}  // namespace spq::data
