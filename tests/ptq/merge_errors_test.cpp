// What merging refuses, before it writes anything.
#include <ATen/ops/full.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "data/transform_manifest.h"
#include "ptq/merge.h"
#include "tests/data/support.h"
#include "tests/ptq/merged_model.h"

namespace spq::ptq {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

class MergeErrors : public testing::Test {
 protected:
  std::string error(const std::filesystem::path& source) const {
    return data::error_of([&] { test::merge_model(source, out_, merge_); });
  }
  void expect_refused(const std::string& text) const {
    EXPECT_THAT(data::error_of([&] { check_rotations(merge_.rotations, config_, "rotation.h5"); }),
                StartsWith("rotation.h5: " + text));
    EXPECT_FALSE(std::filesystem::exists(out_)) << "nothing may be written";
  }

  data::TempDir folder_;
  std::filesystem::path source_ = test::fixture("mha");
  std::filesystem::path out_ = folder_.path() / "out";
  data::LlamaConfig config_ = data::read_llama_config(source_);
  test::Merge merge_ = {.rotations = test::random_rotations(config_, 1)};
};

TEST_F(MergeErrors, RefusesToMergeTwice) {
  test::merge_model(source_, folder_.path() / "once", merge_);
  EXPECT_EQ(error(folder_.path() / "once"),
            (folder_.path() / "once").string() +
                ": already transformed (norms folded, R1 merged, R2 merged): it cannot be rotated twice; set "
                "rotate.r1 and rotate.r2 to identity");
  EXPECT_FALSE(std::filesystem::exists(out_));
}

TEST_F(MergeErrors, RefusesAFileOfRotationsOfAnotherModelBeforeWriting) {
  merge_.rotations = test::random_rotations(data::read_llama_config(test::fixture("gqa4")), 1);
  EXPECT_THAT(error(source_), HasSubstr("R.bin: R1 has shape [64, 64], expected [32, 32]"));
  EXPECT_FALSE(std::filesystem::exists(out_));
}

TEST_F(MergeErrors, RefusesRotationsOfAnotherModel) {
  merge_.rotations.r1 = test::random_rotations(data::read_llama_config(test::fixture("gqa4")), 1).r1;
  expect_refused("R1 has shape [64, 64], expected [32, 32]");
}

TEST_F(MergeErrors, RefusesR2OfTheWrongShapeOrNumber) {
  const data::Rotations wide = test::random_rotations(data::read_llama_config(test::fixture("headdim")), 1);
  const data::Rotations good = merge_.rotations;
  merge_.rotations.r2[1] = wide.r2[1];
  expect_refused("R2 of layer 1 has shape [16, 16], expected [8, 8]");
  merge_.rotations = good;
  merge_.rotations.r2.pop_back();
  expect_refused("holds R2 of 1 layers, expected 2");
}

TEST_F(MergeErrors, RefusesWhatIsNotOrthogonal) {
  merge_.rotations.r1 = merge_.rotations.r1.mul(1.01);
  expect_refused("R1 is not orthogonal: max |R^T R - I| is 0.0201");
  merge_.rotations = test::random_rotations(config_, 1);
  merge_.rotations.r1 = at::Tensor();
  merge_.rotations.r2[0].mul_(2);
  expect_refused("R2 of layer 0 is not orthogonal");
}

TEST_F(MergeErrors, RefusesRotationsThatAreNotFinite) {
  merge_.rotations.r1[3][4] = kNan;
  expect_refused("R1 holds numbers that are not finite");
  merge_.rotations = test::random_rotations(config_, 1);
  merge_.rotations.r2[1][0][0] = kNan;
  expect_refused("R2 of layer 1 holds numbers that are not finite");
}

TEST_F(MergeErrors, RefusesRotationsInAnotherType) {
  merge_.rotations.r1 = merge_.rotations.r1.to(at::kDouble);
  expect_refused("R1 is not fp32");
}

TEST_F(MergeErrors, RefusesAPlanOfR4ForAnotherSize) {
  const data::ModelFiles files(source_);
  EXPECT_EQ(data::error_of([&] { merge_layer(files, config_, 0, {}, kernels::plan_hadamard(64)); }),
            "R4 is planned for 64 values, but intermediate_size is 56");
}

TEST_F(MergeErrors, RefusesToLoseATensor) {
  const auto odd = folder_.path() / "odd";
  test::copy_model(source_, odd, [](test::TensorMap& tensors) {
    tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = at::full({4}, 1.0, at::kFloat);
    tensors["model.layers.0.self_attn.q_norm.weight"] = at::full({8}, 1.0, at::kFloat);
  });
  EXPECT_THAT(error(odd), HasSubstr("tensor 'model.layers.0.self_attn.q_norm.weight' is no part of a LLaMA"));
  EXPECT_FALSE(std::filesystem::exists(out_));
}

TEST_F(MergeErrors, LeavesOutTheRotaryTableOfOldFiles) {
  const auto old = folder_.path() / "old";
  const std::string table = "model.layers.0.self_attn.rotary_emb.inv_freq";
  test::copy_model(source_, old,
                   [&](test::TensorMap& tensors) { tensors[table] = at::full({4}, 1.0, at::kFloat); });
  EXPECT_EQ(error(old), "");
  EXPECT_FALSE(data::ModelFiles(out_).has(table));
}

TEST_F(MergeErrors, NamesAWeightThatIsNotFiniteAndLeavesNoModel) {
  for (const char* name : {"model.layers.1.mlp.down_proj.weight", "model.norm.weight", "lm_head.weight",
                           "model.layers.0.input_layernorm.weight", "model.embed_tokens.weight"}) {
    const data::TempDir folder;
    const auto broken = folder.path() / "broken";
    test::copy_model(source_, broken,
                     [&](test::TensorMap& tensors) { tensors.at(name).view({-1})[3] = kNan; });
    const auto out = folder.path() / "out";
    EXPECT_EQ(data::error_of([&] { test::merge_model(broken, out, merge_); }),
              (broken / "model.safetensors").string() + ": tensor " + name + " holds a NaN or an infinity");
    EXPECT_FALSE(std::filesystem::exists(out / "config.json"));
  }
}

TEST_F(MergeErrors, NamesAWeightThatOutgrowsItsTypeWhenRotated) {
  const auto large = folder_.path() / "large";
  constexpr double kLargestHalf = 65504;
  test::copy_model(test::fixture("f16"), large, [](test::TensorMap& tensors) {
    tensors.at("model.layers.0.mlp.down_proj.weight").fill_(kLargestHalf);
  });
  merge_.rotations = {};
  merge_.r4 = true;
  EXPECT_EQ(error(large),
            (large / "model.safetensors").string() +
                ": tensor model.layers.0.mlp.down_proj.weight does not fit into Half once it is "
                "rotated");
}

}  // namespace
}  // namespace spq::ptq
