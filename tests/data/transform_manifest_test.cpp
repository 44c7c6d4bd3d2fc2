#include "data/transform_manifest.h"

#include <ATen/ops/eye.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "support.h"

namespace spq::data {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

TransformManifest example() {
  TransformManifest manifest;
  manifest.norms_folded = true;
  manifest.r1_sha256 = std::string(64, '1');
  manifest.r2_sha256 = std::string(64, '2');
  manifest.r3_online = true;
  manifest.r4 = {.block = 56, .factor = 28};
  manifest.weights = {.method = "gptq",
                      .bits = 4,
                      .other_bits = {{"down_proj", 8}},
                      .group_size = 32,
                      .symmetric = false,
                      .integers = true};
  manifest.source_fingerprint = std::string(64, 'f');
  manifest.spq_version = "0.1.0";
  return manifest;
}

/// The error when the example's file is changed by `change`.
std::string error_after(const std::function<void(json&)>& change) {
  const TempDir folder;
  write_manifest(folder.path(), example());
  json file = json::parse(read_text(folder.path() / kManifestFile));
  change(file);
  write_text(folder.path() / kManifestFile, file.dump());
  const std::string error = error_of([&] { read_manifest(folder.path()); });
  EXPECT_TRUE(error.empty() || error.starts_with((folder.path() / kManifestFile).string())) << error;
  return error;
}

TEST(TransformManifest, ReadsBackWhatWasWritten) {
  const TempDir folder;
  TransformManifest manifest = example();
  write_manifest(folder.path(), manifest);
  EXPECT_EQ(read_manifest(folder.path()), manifest);
  manifest = {};
  manifest.source_fingerprint = std::string(64, '0');
  manifest.spq_version = "9";
  write_manifest(folder.path(), manifest);
  EXPECT_EQ(read_manifest(folder.path()), manifest);
  EXPECT_EQ(error_after([](json&) {}), "");
}

TEST(TransformManifest, IsAbsentWhereThereIsNoFile) {
  const TempDir folder;
  EXPECT_EQ(read_manifest(folder.path()), std::nullopt);
}

TEST(TransformManifest, SaysThatAFoldedTransformIsNeededOnline) {
  const TempDir folder;
  write_manifest(folder.path(), example());
  const json file = json::parse(read_text(folder.path() / kManifestFile));
  EXPECT_EQ(file["r4"], (json{{"folded", true}, {"block", 56}, {"factor", 28}, {"online_needed", true}}));
  EXPECT_EQ(file["r3"], (json{{"online", true}}));
  EXPECT_THAT(error_after([](json& f) { f["r4"]["online_needed"] = false; }),
              HasSubstr("r4: 'online_needed' is false, expected true"));
}

TEST(TransformManifest, RefusesWhatItDoesNotUnderstand) {
  EXPECT_THAT(error_after([](json& f) { f["version"] = 1; }), HasSubstr("'version' is 1, expected 2"));
  EXPECT_THAT(error_after([](json& f) { f["r5"] = true; }), HasSubstr("unknown key 'r5'"));
  EXPECT_THAT(error_after([](json& f) { f["r1"]["seed"] = 1; }), HasSubstr("r1: unknown key 'seed'"));
  EXPECT_THAT(error_after([](json& f) { f.erase("r3"); }), HasSubstr("no key 'r3'"));
  EXPECT_THAT(error_after([](json& f) { f["r2"] = 1; }), HasSubstr("r2: found 1, expected an object"));
  EXPECT_THAT(error_after([](json& f) { f["norms_folded"] = "yes"; }),
              HasSubstr("'norms_folded' is \"yes\""));
  EXPECT_THAT(error_after([](json& f) { f = json::array(); }), HasSubstr("expected an object"));
}

TEST(TransformManifest, RefusesValuesOutOfRange) {
  EXPECT_THAT(error_after([](json& f) { f["r1"]["sha256"] = "abc"; }),
              HasSubstr("r1: 'sha256' is \"abc\", expected a SHA-256"));
  EXPECT_THAT(error_after([](json& f) { f["r1"].erase("sha256"); }), HasSubstr("r1: no key 'sha256'"));
  EXPECT_THAT(error_after([](json& f) { f["r4"]["block"] = 0; }), HasSubstr("r4: 'block' is 0"));
  EXPECT_THAT(error_after([](json& f) { f["r4"]["factor"] = 3; }),
              HasSubstr("r4: 'factor' is 3, expected a divisor of the block 56"));
  EXPECT_THAT(error_after([](json& f) { f["weights"]["bits"] = 16; }), HasSubstr("weights: 'bits' is 16"));
  EXPECT_THAT(error_after([](json& f) { f["weights"]["other_bits"]["down_proj"] = 9; }),
              HasSubstr("other_bits: 'down_proj' is 9, expected 2 to 8, or 16"));
  EXPECT_THAT(error_after([](json& f) { f["weights"]["other_bits"]["lm_head"] = 8; }),
              HasSubstr("other_bits: unknown key 'lm_head'"));
  EXPECT_THAT(error_after([](json& f) { f["weights"]["group_size"] = 0; }),
              HasSubstr("weights: 'group_size' is 0"));
}

TEST(TransformManifest, RefusesARotationBeforeNormsThatAreNotFolded) {
  EXPECT_THAT(error_after([](json& f) { f["norms_folded"] = false; }), HasSubstr("'norms_folded' is false"));
}

TEST(TransformManifest, TellsInWordsWhatWasDone) {
  EXPECT_EQ(
      describe(example()),
      "norms folded, R1 merged, R2 merged, R4 folded into down_proj, weights quantized to 4 bits by gptq, "
      "down_proj to 8");
  EXPECT_EQ(describe({}), "nothing");
}

TEST(RotationSha256, TellsMatricesAndTheirNumberApart) {
  const at::Tensor one = at::eye(4);
  const at::Tensor other = one.neg();
  const auto hash = [](const std::vector<at::Tensor>& matrices) { return rotation_sha256(matrices); };
  EXPECT_EQ(hash({one, other}), hash({one.clone(), other.t()}));
  EXPECT_NE(hash({one, other}), hash({other, one}));
  EXPECT_NE(hash({one}), hash({other}));
  EXPECT_NE(hash({one}), hash({one, one}));
  EXPECT_NE(hash({one}), hash({at::eye(4).view({2, 8})}));
}

}  // namespace
}  // namespace spq::data
