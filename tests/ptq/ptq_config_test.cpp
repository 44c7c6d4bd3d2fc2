// The configurations of spq-ptq and spq-eval: rules, shipped files, documentation.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "core/error.h"
#include "ptq/config_docs.h"
#include "ptq/eval_config.h"
#include "ptq/ptq_config.h"

namespace spq::ptq {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

const fs::path kShipped = fs::path(SPQ_SOURCE_DIR) / "configs/ptq/tiny-w4a4kv4.yaml";

std::string complaint(const std::vector<std::string>& overrides) {
  try {
    load_ptq_config(kShipped, overrides);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(PtqConfig, ShippedFilesLoad) {
  const PtqConfig config = load_ptq_config(kShipped, {});
  EXPECT_EQ(config.weights.method, Method::kGptq);
  EXPECT_EQ(config.quant.key.bits, 4);
  EXPECT_EQ(load_eval_config(fs::path(SPQ_SOURCE_DIR) / "configs/ptq/tiny-eval.yaml", {}).sequence_length,
            256);
}

TEST(PtqConfig, GptaqGoesByItsFourNames) {
  for (const char* name : {"gptaq", "gptqv2", "use_v2", "asym_calibrate"}) {
    const std::vector<std::string> set = {std::string("weights.method=") + name};
    EXPECT_EQ(load_ptq_config(kShipped, set).weights.method, Method::kGptaq);
  }
}

TEST(PtqConfig, RefusesContradictionsByKey) {
  EXPECT_THAT(complaint({"calibration.tokens="}), HasSubstr("needs calibration.tokens"));
  EXPECT_THAT(complaint({"rotate.file="}), HasSubstr("rotate.file is empty"));
  EXPECT_THAT(complaint({"rotate.r1=hadamard", "rotate.r2=random"}),
              HasSubstr("neither rotate.r1 nor rotate.r2 is file"));
  EXPECT_THAT(complaint({"weights.bits=16"}), HasSubstr("set weights.method to none"));
  EXPECT_THAT(complaint({"weights.method=awq"}), HasSubstr("weights.method is 'awq'"));
  EXPECT_THAT(complaint({"weights.bit=4"}), HasSubstr("did you mean weights.bits"));
}

TEST(PtqConfig, SchemeFollowsTheKeys) {
  const std::vector<std::string> set = {"weights.down_bits=8",  "weights.v_bits=16", "weights.group_size=32",
                                        "weights.method=gptaq", "gptq.alpha=0.5",    "gptq.act_order=true"};
  const WeightScheme scheme = weight_scheme(load_ptq_config(kShipped, set), at::kBFloat16);
  EXPECT_EQ(scheme.specs.q.bits, 4);
  EXPECT_EQ(scheme.specs.gate.bits, 4);
  EXPECT_FALSE(scheme.specs.v.enabled());
  EXPECT_EQ(scheme.specs.down.bits, 8);
  EXPECT_EQ(scheme.specs.down.group_size, 32);
  EXPECT_EQ(scheme.specs.q.scale_dtype, at::kBFloat16);
  EXPECT_EQ(scheme.factor.alpha, 0.5);
  EXPECT_TRUE(scheme.factor.act_order);
  const std::vector<std::string> gptq = {"weights.method=gptq"};
  EXPECT_EQ(weight_scheme(load_ptq_config(kShipped, gptq), at::kFloat).factor.alpha, 0.0);
}

TEST(PtqConfig, TheTextOfARunNamesWhatItsWeightsDependOn) {
  const std::string text = result_keys(load_ptq_config(kShipped, {}));
  const auto with = [](const std::string& change) {
    const std::vector<std::string> set = {change};
    return result_keys(load_ptq_config(kShipped, set));
  };
  for (const char* change : {"weights.bits=3", "weights.k_bits=8", "gptq.alpha=0.5", "calibration.seed=9",
                             "quant.activation.bits=8", "compute.dtype=bf16", "save.integers=false",
                             "rotate.centre_embedding=true", "gptq.reference_group_scales=true"}) {
    EXPECT_NE(with(change), text) << change;
  }
  for (const char* change :
       {"eval.sequences=3", "compute.threads=2", "output_dir=elsewhere", "eval.bos=each_window"}) {
    EXPECT_EQ(with(change), text) << change;
  }
}

TEST(PtqConfig, ThePageInDocsIsWhatTheTablesSay) {
  std::ifstream file(fs::path(SPQ_SOURCE_DIR) / "docs/configuration-ptq.md");
  std::ostringstream text;
  text << file.rdbuf();
  EXPECT_EQ(text.str(), configuration_page())
      << "run: build/release/spq_ptq_config_docs > docs/configuration-ptq.md";
}

}  // namespace
}  // namespace spq::ptq
