// What spq-ptq holds at once, counted by LibTorch's allocator: some layers, never the model.
#include <ATen/ops/randn.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "data/safetensors_writer.h"
#include "dist/single_communicator.h"
#include "ptq/pipeline.h"
#include "tests/data/support.h"
#include "tests/support/allocation_counter.h"

namespace spq::ptq {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kHidden = 128, kIntermediate = 384, kVocab = 512, kLength = 32, kSamples = 4;
constexpr int64_t kLayerBytes = 4 * (4 * kHidden * kHidden + 3 * kHidden * kIntermediate);

void write_model(const fs::path& folder, int64_t layers) {
  fs::create_directories(folder);
  const nlohmann::json config = {{"model_type", "llama"},
                                 {"hidden_size", kHidden},
                                 {"intermediate_size", kIntermediate},
                                 {"num_hidden_layers", layers},
                                 {"num_attention_heads", 4},
                                 {"num_key_value_heads", 4},
                                 {"vocab_size", kVocab},
                                 {"max_position_embeddings", kLength},
                                 {"rms_norm_eps", 1e-5},
                                 {"rope_theta", 10000.0},
                                 {"hidden_act", "silu"},
                                 {"tie_word_embeddings", false}};
  data::write_text(folder / "config.json", config.dump());
  std::vector<data::TensorSpec> specs = {{"model.embed_tokens.weight", at::kFloat, {kVocab, kHidden}},
                                         {"lm_head.weight", at::kFloat, {kVocab, kHidden}},
                                         {"model.norm.weight", at::kFloat, {kHidden}}};
  for (int64_t l = 0; l < layers; ++l) {
    const std::string name = "model.layers." + std::to_string(l) + ".";
    for (const char* square : {"q", "k", "v", "o"}) {
      specs.push_back({name + "self_attn." + square + "_proj.weight", at::kFloat, {kHidden, kHidden}});
    }
    specs.push_back({name + "mlp.gate_proj.weight", at::kFloat, {kIntermediate, kHidden}});
    specs.push_back({name + "mlp.up_proj.weight", at::kFloat, {kIntermediate, kHidden}});
    specs.push_back({name + "mlp.down_proj.weight", at::kFloat, {kHidden, kIntermediate}});
    specs.push_back({name + "input_layernorm.weight", at::kFloat, {kHidden}});
    specs.push_back({name + "post_attention_layernorm.weight", at::kFloat, {kHidden}});
  }
  data::SafetensorsWriter writer(folder / "model.safetensors", specs);
  for (const data::TensorSpec& spec : specs)
    writer.write(spec.name, at::randn(spec.shape, at::kFloat).mul_(0.05));
  writer.finish();
}

int64_t peak_bytes(const fs::path& folder, int64_t layers, Method method) {
  const fs::path model = folder / std::to_string(layers);
  if (!fs::exists(model)) write_model(model, layers);
  PtqConfig config;
  config.model = model.string();
  config.output_dir = (folder / "out").string();
  config.rotate.r1 = config.rotate.r2 = model::RotationSource::kHadamard;
  config.weights.method = method;
  config.weights.mse_clip = false;
  config.calibration.tokens = (fs::path(SPQ_SOURCE_DIR) / "data/tiny-llama/tokens-train.h5").string();
  config.calibration.samples = kSamples;
  config.calibration.sequence_length = kLength;
  auto counter = std::make_shared<test::AllocationCounter>();
  dist::SingleCommunicator comm;
  {
    const c10::DebugInfoGuard guard(c10::DebugInfoKind::PROFILER_STATE, counter);
    run_ptq(comm, config, nullptr);
  }
  fs::remove_all(config.output_dir);
  return counter->peak();
}

TEST(PtqMemory, IsAFewLayersHoweverManyTheModelHas) {
  const data::TempDir folder;
  for (Method method : {Method::kNone, Method::kRtn, Method::kGptq, Method::kGptaq}) {
    const int64_t few = peak_bytes(folder.path(), 4, method);
    const int64_t many = peak_bytes(folder.path(), 16, method);
    // The R2 of each layer, and nothing else, is there for all layers.
    const int64_t rotations = 3 * 12 * 32 * 32 * 4;
    EXPECT_LE(many, few + rotations) << static_cast<int>(method);
    EXPECT_LE(many, 7 * kLayerBytes) << static_cast<int>(method) << ": the model is " << 16 << " layers";
    RecordProperty("layers_" + std::to_string(static_cast<int>(method)),
                   std::to_string(double(many) / kLayerBytes));
  }
}

}  // namespace
}  // namespace spq::ptq
