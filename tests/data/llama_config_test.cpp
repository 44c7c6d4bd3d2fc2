#include "data/llama_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "support.h"

namespace spq::data {
namespace {

using Json = nlohmann::json;
using ::testing::HasSubstr;
using ::testing::StartsWith;

Json minimal() {
  return {{"model_type", "llama"},  {"hidden_size", 64},        {"intermediate_size", 96},
          {"num_hidden_layers", 2}, {"num_attention_heads", 4}, {"vocab_size", 100}};
}

Json llama3_rule() {
  return {{"rope_type", "llama3"},
          {"factor", 8.0},
          {"low_freq_factor", 1.0},
          {"high_freq_factor", 4.0},
          {"original_max_position_embeddings", 512}};
}

class LlamaConfigTest : public ::testing::Test {
 protected:
  LlamaConfig read(const Json& json) const {
    write_text(folder_.path() / "config.json", json.dump());
    return read_llama_config(folder_.path());
  }
  LlamaConfig read_with(const char* key, const Json& value) const {
    Json json = minimal();
    json[key] = value;
    return read(json);
  }
  std::string error(const Json& json) const {
    return error_of([&] { read(json); });
  }
  std::string error_with(const char* key, const Json& value) const {
    return error_of([&] { read_with(key, value); });
  }
  const TempDir folder_;
};

TEST_F(LlamaConfigTest, FillsInTheDefaults) {
  const LlamaConfig config = read(minimal());
  EXPECT_EQ(config.hidden_size, 64);
  EXPECT_EQ(config.intermediate_size, 96);
  EXPECT_EQ(config.num_layers, 2);
  EXPECT_EQ(config.num_heads, 4);
  EXPECT_EQ(config.num_kv_heads, 4);
  EXPECT_EQ(config.head_dim, 16);
  EXPECT_EQ(config.vocab_size, 100);
  EXPECT_EQ(config.max_position, 2048);
  EXPECT_EQ(config.rms_norm_eps, 1e-6);
  EXPECT_EQ(config.rope.theta, 10000.0);
  EXPECT_EQ(config.rope.scaling, RopeConfig::Scaling::kNone);
  EXPECT_FALSE(config.tied_embeddings);
}

TEST_F(LlamaConfigTest, TreatsNullLikeAbsent) {
  for (const char* key : {"head_dim", "num_key_value_heads", "rope_scaling", "tie_word_embeddings"}) {
    EXPECT_EQ(read_with(key, nullptr).head_dim, 16) << key;
  }
}

TEST_F(LlamaConfigTest, ReadsWhatIsGiven) {
  Json json = minimal();
  json.update({{"architectures", {"LlamaForCausalLM"}},
               {"num_key_value_heads", 2},
               {"head_dim", 24},
               {"tie_word_embeddings", true},
               {"rms_norm_eps", 1e-5},
               {"max_position_embeddings", 512},
               {"hidden_act", "silu"},
               {"attention_bias", false},
               {"rope_theta", 500000}});
  const LlamaConfig config = read(json);
  EXPECT_EQ(config.num_kv_heads, 2);
  EXPECT_EQ(config.head_dim, 24);
  EXPECT_EQ(config.rms_norm_eps, 1e-5);
  EXPECT_EQ(config.max_position, 512);
  EXPECT_EQ(config.rope.theta, 500000.0);
  EXPECT_TRUE(config.tied_embeddings);
}

TEST_F(LlamaConfigTest, DerivesHeadDimOnlyWhenItIsAbsent) {
  Json json = minimal();
  json["hidden_size"] = 66;
  EXPECT_THAT(error(json), HasSubstr("'hidden_size' is 66, expected a multiple of num_attention_heads 4"));
  json["head_dim"] = 16;
  EXPECT_EQ(read(json).head_dim, 16);
}

TEST_F(LlamaConfigTest, ReadsBothSpellingsOfRope) {
  Json old_style = minimal();
  old_style["rope_theta"] = 500.0;
  old_style["rope_scaling"] = llama3_rule();
  Json rule = llama3_rule();
  rule["rope_theta"] = 500.0;
  Json new_style = minimal();
  new_style["rope_parameters"] = rule;
  for (const Json& json : {old_style, new_style}) {
    const RopeConfig rope = read(json).rope;
    EXPECT_EQ(rope.theta, 500.0);
    EXPECT_EQ(rope.scaling, RopeConfig::Scaling::kLlama3);
    EXPECT_EQ(rope.factor, 8.0);
    EXPECT_EQ(rope.low_freq_factor, 1.0);
    EXPECT_EQ(rope.high_freq_factor, 4.0);
    EXPECT_EQ(rope.original_max_position, 512);
  }
}

TEST_F(LlamaConfigTest, ReadsPlainAndLinearRope) {
  EXPECT_EQ(read_with("rope_parameters", {{"rope_type", "default"}, {"rope_theta", 7.0}}).rope.theta, 7.0);
  EXPECT_EQ(read_with("rope_parameters", {{"rope_theta", 8.0}}).rope.theta, 8.0);
  const RopeConfig linear = read_with("rope_scaling", {{"type", "linear"}, {"factor", 2}}).rope;
  EXPECT_EQ(linear.scaling, RopeConfig::Scaling::kLinear);
  EXPECT_EQ(linear.factor, 2.0);
}

TEST_F(LlamaConfigTest, RefusesRopeItDoesNotCompute) {
  EXPECT_THAT(
      error_with("rope_scaling", {{"rope_type", "yarn"}, {"factor", 2}}),
      HasSubstr("rope_scaling: 'rope_type' is \"yarn\", expected \"default\", \"linear\" or \"llama3\""));
  EXPECT_THAT(error_with("rope_scaling", {{"factor", 2}}), HasSubstr("no key 'rope_type'"));
  EXPECT_THAT(error_with("rope_scaling", 3), HasSubstr("'rope_scaling' is 3, expected an object or null"));
  EXPECT_THAT(error_with("rope_scaling", {{"type", "linear"}}), HasSubstr("no key 'factor'"));
  EXPECT_THAT(error_with("rope_scaling", {{"type", "linear"}, {"factor", 0.5}}),
              HasSubstr("expected 1 or more"));
  EXPECT_THAT(error_with("rope_parameters", {{"partial_rotary_factor", 0.5}}),
              HasSubstr("partial_rotary_factor"));
  Json rule = llama3_rule();
  rule["high_freq_factor"] = 1.0;
  EXPECT_THAT(error_with("rope_scaling", rule), HasSubstr("expected more than low_freq_factor 1.0"));
  rule.erase("original_max_position_embeddings");
  EXPECT_THAT(error_with("rope_scaling", rule), HasSubstr("no key 'original_max_position_embeddings'"));
  Json both = minimal();
  both["rope_scaling"] = llama3_rule();
  both["rope_parameters"] = {{"rope_type", "default"}};
  EXPECT_THAT(error(both), HasSubstr("both given and differ"));
}

TEST_F(LlamaConfigTest, NamesTheMissingKey) {
  for (const char* key : {"model_type", "hidden_size", "intermediate_size", "num_hidden_layers",
                          "num_attention_heads", "vocab_size"}) {
    Json json = minimal();
    json.erase(key);
    EXPECT_THAT(error(json),
                StartsWith((folder_.path() / "config.json").string() + ": no key '" + key + "', expected"));
  }
}

TEST_F(LlamaConfigTest, RefusesOtherModels) {
  EXPECT_THAT(error_with("model_type", "qwen2"), HasSubstr("'model_type' is \"qwen2\", expected \"llama\""));
  EXPECT_THAT(error_with("architectures", {"MistralForCausalLM"}),
              HasSubstr("expected [\"LlamaForCausalLM\"]"));
  EXPECT_THAT(error_with("attention_bias", true), HasSubstr("'attention_bias' is true, expected false"));
  EXPECT_THAT(error_with("mlp_bias", true), HasSubstr("'mlp_bias' is true, expected false"));
  EXPECT_THAT(error_with("hidden_act", "gelu"), HasSubstr("'hidden_act' is \"gelu\", expected \"silu\""));
  EXPECT_THAT(error_with("quantization_config", {{"bits", 4}}), HasSubstr("has to be unquantized"));
}

TEST_F(LlamaConfigTest, RefusesSizesThatDoNotFit) {
  EXPECT_THAT(error_with("num_key_value_heads", 3), HasSubstr("expected a divisor of num_attention_heads 4"));
  EXPECT_THAT(error_with("num_key_value_heads", 8), HasSubstr("expected a divisor of num_attention_heads 4"));
  EXPECT_THAT(error_with("head_dim", 15), HasSubstr("'head_dim' is 15, expected an even number"));
  EXPECT_THAT(error_with("hidden_size", 0), HasSubstr("'hidden_size' is 0, expected a positive integer"));
  EXPECT_THAT(error_with("vocab_size", -5), HasSubstr("'vocab_size' is -5, expected a positive integer"));
  EXPECT_THAT(error_with("vocab_size", 2.5), HasSubstr("'vocab_size' is 2.5"));
  EXPECT_THAT(error_with("vocab_size", "100"), HasSubstr("'vocab_size' is \"100\""));
  EXPECT_THAT(error_with("vocab_size", 18446744073709551615u), HasSubstr("expected a positive integer"));
  EXPECT_THAT(error_with("rms_norm_eps", 0), HasSubstr("'rms_norm_eps' is 0, expected a positive number"));
  EXPECT_THAT(error_with("tie_word_embeddings", 1), HasSubstr("expected true or false"));
}

TEST_F(LlamaConfigTest, RefusesFilesThatAreNotJsonObjects) {
  const auto text_error = [&](const std::string& text) {
    write_text(folder_.path() / "config.json", text);
    return error_of([&] { read_llama_config(folder_.path()); });
  };
  EXPECT_THAT(text_error("{\"a\": "), HasSubstr("config.json: not valid JSON"));
  EXPECT_THAT(text_error("[1]"), HasSubstr("expected a JSON object"));
  EXPECT_THAT(text_error(R"({"vocab_size":1,"vocab_size":2})"), HasSubstr("duplicate key 'vocab_size'"));
  EXPECT_THAT(text_error(""), HasSubstr("empty file"));
  EXPECT_THAT(error_of([&] { read_llama_config(folder_.path() / "no"); }),
              HasSubstr("no/config.json: cannot open"));
}

TEST(LlamaConfigFixtures, AreAllRead) {
  const std::filesystem::path fixtures = std::filesystem::path(SPQ_SOURCE_DIR) / "tests" / "fixtures";
  int count = 0;
  for (const auto& folder : std::filesystem::directory_iterator(fixtures)) {
    if (!std::filesystem::exists(folder.path() / "config.json")) continue;
    EXPECT_GT(read_llama_config(folder.path()).head_dim, 0) << folder.path();
    ++count;
  }
  EXPECT_GT(count, 0);
  EXPECT_EQ(read_llama_config(fixtures / "newrope").rope.theta, 500.0);
  EXPECT_TRUE(read_llama_config(fixtures / "tied").tied_embeddings);
}

}  // namespace
}  // namespace spq::data
