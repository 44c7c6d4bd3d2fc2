// A merged network is the network it came from.
#include "ptq/merge.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include "data/transform_manifest.h"
#include "model/quant_point.h"
#include "model/rotation_start.h"
#include "model/sharded_load.h"
#include "tests/data/support.h"
#include "tests/ptq/merged_model.h"

namespace spq::ptq {
namespace {

using data::TempDir;

// In F16 and BF16 files every merged weight is rounded to 11 or 8 bits once more than the original's weights,
// which are exact there. The rounding of one number is at most 2^-11 or 2^-8 of it; through two layers the
// logits move by a little more than that.
double tolerance(const std::string& fixture) {
  if (fixture == "bf16") return 1.5e-2;
  return fixture == "f16" ? 2e-3 : 1e-4;
}

/// The frames of a merged model with R4 folded: only what cannot be merged is left.
std::vector<model::LayerFrames> online_frames(const data::LlamaConfig& config) {
  const kernels::HadamardPlan r4 = kernels::plan_hadamard(config.intermediate_size);
  return std::vector<model::LayerFrames>(
      static_cast<size_t>(config.num_layers),
      {{}, {}, model::Frame(kernels::plan_hadamard(config.head_dim)), model::Frame::one_way(r4)});
}

class MergedFixture : public testing::TestWithParam<std::string> {
 protected:
  MergedFixture() { options_.rotations = test::random_rotations(config_, 7); }
  std::filesystem::path merge() {
    test::merge_model(source_, folder_.path() / "merged", options_);
    return folder_.path() / "merged";
  }

  TempDir folder_;
  std::filesystem::path source_ = test::fixture(GetParam());
  data::LlamaConfig config_ = data::read_llama_config(source_);
  test::TensorMap expected_ = test::read_tensors(source_ / "expected.safetensors");
  at::Tensor ids_ = expected_.at("input_ids");
  at::Tensor logits_ = expected_.at("logits");
  test::Merge options_;
};

TEST_P(MergedFixture, GivesTheLogitsOfTheOriginal) {
  const double error = test::relative_error(test::logits_of(merge(), ids_), logits_);
  EXPECT_LE(error, tolerance(GetParam()));
  RecordProperty("error", std::to_string(error));
}

TEST_P(MergedFixture, GivesThemWithR4FoldedOnceTheDownInputIsTransformedOnline) {
  options_.r4 = true;
  const std::filesystem::path merged = merge();
  const std::vector<model::LayerFrames> online = online_frames(config_);
  EXPECT_LE(test::relative_error(test::logits_of(merged, ids_, {}, online), logits_), tolerance(GetParam()));
  EXPECT_GT(test::relative_error(test::logits_of(merged, ids_), logits_), 0.1) << "without the transform";
}

// Both networks round the same numbers up to the last bits of fp32, so all but a few codes agree. Weights
// rounded to F16 or BF16 would move too many.
class MergedFp32Fixture : public MergedFixture {};

TEST_P(MergedFp32Fixture, QuantizesTheSameTensorsAsTheOriginalSeenThroughFrames) {
  options_.r4 = true;
  const kernels::QuantSpec bits4{4, false, -1, true, 1.0};
  const model::QuantScheme scheme{bits4, bits4, bits4, bits4, bits4};
  const model::Frame r3(kernels::plan_hadamard(config_.head_dim));
  const kernels::HadamardPlan r4 = kernels::plan_hadamard(config_.intermediate_size);
  std::vector<model::LayerFrames> through, behind;
  for (const at::Tensor& r2 : options_.rotations.r2) {
    through.push_back({model::Frame(options_.rotations.r1), model::Frame(r2), r3, model::Frame(r4)});
    behind.push_back({{}, {}, r3, model::Frame::one_way(r4)});
  }
  const at::Tensor expected = test::logits_of(source_, ids_, scheme, through);
  const at::Tensor found = test::logits_of(merge(), ids_, scheme, behind);
  const double effect = test::relative_error(expected, logits_);
  EXPECT_GT(effect, 0.05) << "the quantizers are on";
  EXPECT_LE(test::relative_error(found, expected), 0.1 * effect);
}

constexpr auto kShapeName = [](const testing::TestParamInfo<std::string>& shape) { return shape.param; };
const auto kFp32Shapes =
    testing::Values("gqa4", "mha", "headdim", "llama3rope", "newrope", "tied", "sharded");

INSTANTIATE_TEST_SUITE_P(Shapes, MergedFixture,
                         testing::Values("gqa4", "mha", "headdim", "llama3rope", "newrope", "tied", "sharded",
                                         "bf16", "f16"),
                         kShapeName);
INSTANTIATE_TEST_SUITE_P(Shapes, MergedFp32Fixture, kFp32Shapes, kShapeName);

// The transform of the fixtures' 56 values is its own transpose, as its factor 28 is; the one of 24 is not.
constexpr int64_t kAsymmetricSize = 24;

TEST(MergeModel, FoldsR4ThatIsNotItsOwnInverse) {
  const TempDir folder;
  const std::filesystem::path source = folder.path() / "source";
  test::narrow_mlp(test::fixture("gqa4"), source, kAsymmetricSize);
  const data::LlamaConfig config = data::read_llama_config(source);
  test::Merge options;
  options.rotations = test::random_rotations(config, 2);
  options.r4 = true;
  test::merge_model(source, folder.path() / "merged", options);
  const at::Tensor ids = test::read_tensors(test::fixture("gqa4") / "expected.safetensors").at("input_ids");
  const at::Tensor logits = test::logits_of(folder.path() / "merged", ids, {}, online_frames(config));
  EXPECT_LE(test::relative_error(logits, test::logits_of(source, ids)), 1e-4);
}

// Whole matrices in double, head by head, from docs/math.md: what R.bin's other readers do.
TEST(MergeLayer, FollowsTheConventionsOfTheMathematics) {
  const TempDir folder;
  const std::filesystem::path source = folder.path() / "source";
  test::narrow_mlp(test::fixture("gqa4"), source, kAsymmetricSize);
  const data::LlamaConfig config = data::read_llama_config(source);
  const data::ModelFiles files(source);
  const data::Rotations rotations = test::random_rotations(config, 3);
  const kernels::HadamardPlan plan = kernels::plan_hadamard(config.intermediate_size);
  const MergedLayer merged = merge_layer(files, config, 1, rotations, plan);
  const auto wide = [&](const std::string& name) {
    return files.read("model.layers.1." + name + ".weight").to(at::kDouble);
  };
  const at::Tensor r1 = rotations.r1.to(at::kDouble);
  const at::Tensor r2 = rotations.r2[1].to(at::kDouble);
  const at::Tensor gamma = wide("input_layernorm");
  EXPECT_LE(test::relative_error(merged.q, wide("self_attn.q_proj").mul(gamma).mm(r1)), 1e-6);
  EXPECT_LE(test::relative_error(merged.k, wide("self_attn.k_proj").mul(gamma).mm(r1)), 1e-6);
  const at::Tensor gamma_mlp = wide("post_attention_layernorm");
  EXPECT_LE(test::relative_error(merged.gate, wide("mlp.gate_proj").mul(gamma_mlp).mm(r1)), 1e-6);
  EXPECT_LE(test::relative_error(merged.up, wide("mlp.up_proj").mul(gamma_mlp).mm(r1)), 1e-6);
  std::vector<at::Tensor> value, output;
  const int64_t n = config.head_dim;
  for (int64_t h = 0; h < config.num_kv_heads; ++h) {
    value.push_back(r2.t().mm(wide("self_attn.v_proj").mul(gamma).mm(r1).narrow(0, h * n, n)));
  }
  for (int64_t h = 0; h < config.num_heads; ++h) {
    output.push_back(r1.t().mm(wide("self_attn.o_proj").narrow(1, h * n, n)).mm(r2));
  }
  EXPECT_LE(test::relative_error(merged.v, at::cat(value, 0)), 1e-6);
  EXPECT_LE(test::relative_error(merged.o, at::cat(output, 1)), 1e-6);
  // Row i of `transform`: what x -> H x makes of the i-th unit vector, so x -> x * transform.
  const at::Tensor transform =
      model::Frame(plan).enter(at::eye(config.intermediate_size, at::TensorOptions(at::kDouble)));
  EXPECT_GT(test::max_error(transform, transform.t()), 0.1) << "a wrong transpose would not show";
  EXPECT_LE(test::relative_error(merged.down, r1.t().mm(wide("mlp.down_proj")).mm(transform)), 1e-6);
  EXPECT_LE(test::relative_error(merge_embedding(files, rotations.r1, false),
                                 files.read("model.embed_tokens.weight").to(at::kDouble).mm(r1)),
            1e-6);
}

TEST(MergeModel, WithoutRotationsOnlyFoldsTheNormsAsTheTrainerDoes) {
  const TempDir folder;
  test::merge_model(test::fixture("bf16"), folder.path() / "out", {});
  const data::LlamaConfig config = data::read_llama_config(folder.path() / "out");
  model::ModelShard before = model::load_shard(data::ModelFiles(test::fixture("bf16")), config, 0, 1);
  model::ModelShard after = model::load_shard(data::ModelFiles(folder.path() / "out"), config, 0, 1);
  EXPECT_TRUE(after.embedding.equal(before.embedding));
  EXPECT_TRUE(after.head.equal(before.head));
  for (size_t l = 0; l < before.layers.size(); ++l) {
    const auto expected = before.layers[l].all();
    const auto found = after.layers[l].all();
    for (size_t i = 0; i < found.size(); ++i) EXPECT_TRUE(found[i]->equal(*expected[i])) << l << " " << i;
  }
}

TEST(MergeModel, WritesAnUntiedModelWithNormsOfOnesInTheDtypesOfTheSource) {
  const TempDir folder;
  for (const char* name : {"tied", "bf16"}) {
    const auto out = folder.path() / name;
    test::Merge options;
    options.rotations = test::random_rotations(data::read_llama_config(test::fixture(name)), 1);
    test::merge_model(test::fixture(name), out, options);
    EXPECT_FALSE(data::read_llama_config(out).tied_embeddings);
    const data::ModelFiles before(test::fixture(name));
    const data::ModelFiles after(out);
    EXPECT_TRUE(after.has("lm_head.weight"));
    for (const std::string& tensor : before.names()) {
      EXPECT_EQ(after.dtype(tensor), before.dtype(tensor)) << tensor;
      const bool is_norm = tensor.ends_with("norm.weight");
      EXPECT_TRUE(!is_norm || after.read(tensor).eq(1).all().item<bool>()) << tensor;
    }
  }
}

TEST(MergeModel, SaysInTheManifestWhatItDid) {
  const TempDir folder;
  const data::LlamaConfig config = data::read_llama_config(test::fixture("mha"));
  test::Merge options;
  options.rotations = test::random_rotations(config, 1);
  options.r4 = true;
  options.r3_online = true;
  test::merge_model(test::fixture("mha"), folder.path() / "all", options);
  const auto all = data::read_manifest(folder.path() / "all");
  ASSERT_TRUE(all.has_value());
  EXPECT_TRUE(all->norms_folded);
  EXPECT_TRUE(all->r3_online);
  EXPECT_FALSE(all->embedding_centred);
  EXPECT_EQ(all->r1_sha256, data::rotation_sha256({&options.rotations.r1, 1}));
  EXPECT_EQ(all->r2_sha256, data::rotation_sha256(options.rotations.r2));
  EXPECT_EQ(all->r4, (data::TransformManifest::FoldedHadamard{56, 28}));
  EXPECT_EQ(all->weights, std::nullopt);
  EXPECT_EQ(all->source_fingerprint, data::ModelFiles(test::fixture("mha")).fingerprint());
  test::merge_model(test::fixture("mha"), folder.path() / "none", {});
  const auto none = data::read_manifest(folder.path() / "none");
  ASSERT_TRUE(none.has_value());
  EXPECT_EQ(data::describe(*none), "norms folded");
  EXPECT_FALSE(none->r3_online);
}

TEST(MergeLayer, TakesAnUndefinedRotationForTheIdentity) {
  const data::ModelFiles files(test::fixture("mha"));
  const data::LlamaConfig config = data::read_llama_config(test::fixture("mha"));
  data::Rotations undefined = test::random_rotations(config, 1);
  data::Rotations identity = undefined;
  undefined.r1 = at::Tensor();
  undefined.r2[0] = at::Tensor();
  identity.r1 = model::identity_rotation(config.hidden_size);
  identity.r2[0] = model::identity_rotation(config.head_dim);
  const MergedLayer a = merge_layer(files, config, 0, undefined, {});
  const MergedLayer b = merge_layer(files, config, 0, identity, {});
  EXPECT_TRUE(a.v.equal(b.v) && a.o.equal(b.o) && a.q.equal(b.q) && a.down.equal(b.down));
}

TEST(MergeModel, WritesOneFileForEachLayer) {
  const TempDir folder;
  test::merge_model(test::fixture("sharded"), folder.path() / "out", {});
  const data::ModelFiles out(folder.path() / "out");
  EXPECT_EQ(out.file("model.layers.0.self_attn.q_proj.weight").filename(),
            "model-00002-of-00004.safetensors");
  EXPECT_EQ(out.file("model.layers.0.mlp.down_proj.weight").filename(), "model-00002-of-00004.safetensors");
  EXPECT_EQ(out.file("lm_head.weight").filename(), "model-00004-of-00004.safetensors");
}

TEST(MergeEmbedding, OfSomeRowsIsThoseRowsOfTheWhole) {
  const data::ModelFiles files(test::fixture("gqa4"));
  const at::Tensor r1 = test::random_rotations(data::read_llama_config(test::fixture("gqa4")), 1).r1;
  const at::Tensor ids = at::tensor({5, 0, 5, 17, 2}, at::kLong);
  for (bool centre : {false, true}) {
    const at::Tensor whole = merge_embedding(files, r1, centre).index_select(0, ids);
    EXPECT_LE(test::max_error(merge_embedding_rows(files, r1, centre, ids), whole), 1e-6);
  }
}

TEST(MergeModel, CentresTheRowsOfTheEmbeddingOnlyWhenAsked) {
  const TempDir folder;
  const auto source = test::fixture("gqa4");
  const data::LlamaConfig config = data::read_llama_config(source);
  test::Merge options;
  options.rotations = test::random_rotations(config, 1);
  options.centre_embedding = true;
  test::merge_model(source, folder.path() / "centred", options);
  const at::Tensor before = data::ModelFiles(source).read("model.embed_tokens.weight");
  const at::Tensor after = data::ModelFiles(folder.path() / "centred").read("model.embed_tokens.weight");
  const at::Tensor back = after.mm(options.rotations.r1.t());
  EXPECT_LE(test::max_error(back, before.sub(before.mean(1, true))), 1e-5);
  EXPECT_TRUE(data::read_manifest(folder.path() / "centred")->embedding_centred);
  const auto expected = test::read_tensors(source / "expected.safetensors");
  EXPECT_GT(test::relative_error(test::logits_of(folder.path() / "centred", expected.at("input_ids")),
                                 expected.at("logits")),
            1e-3)
      << "another function: this is why it is off by default";
}

TEST(OneWayFrame, StaysInTheBasisItEntered) {
  const kernels::HadamardPlan plan = kernels::plan_hadamard(56);
  const at::Tensor x = model::random_orthogonal(56, 1, 0);
  const at::Tensor entered = model::Frame(plan).enter(x);
  const model::Frame frame = model::Frame::one_way(plan);
  EXPECT_TRUE(frame.is_one_way());
  EXPECT_FALSE(model::Frame(plan).is_one_way());
  const model::PointResult off = model::quantize_point(x, frame, {});
  EXPECT_TRUE(off.x_hat.equal(entered));
  EXPECT_FALSE(off.error.defined());
  const kernels::QuantSpec spec{4, true, -1, true, 1.0};
  const model::PointResult on = model::quantize_point(x, frame, spec);
  const model::PointResult same = model::quantize_point(entered, model::Frame(), spec);
  EXPECT_TRUE(on.x_hat.equal(same.x_hat));
  EXPECT_TRUE(on.error.equal(same.error));
  EXPECT_GT(on.error.norm().item<double>(), 0.01 * x.norm().item<double>());
}

}  // namespace
}  // namespace spq::ptq
