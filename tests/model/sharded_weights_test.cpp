// Every rank's rows, gathered, are the model; embedding rows travel alone.
#include "model/sharded_weights.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <gtest/gtest.h>

#include "data/model_files.h"
#include "dist/single_communicator.h"
#include "dist/thread_communicator.h"
#include "tests/support/golden.h"

namespace spq::model {
namespace {

struct Opened {
  explicit Opened(const std::string& name)
      : config(data::read_llama_config(test::fixture(name))), files(test::fixture(name)) {}
  data::LlamaConfig config;
  data::ModelFiles files;
};

TEST(LoadShard, RanksRowsPutTogetherAreTheFoldedMatrices) {
  const Opened o("gqa4");
  ModelShard whole = load_shard(o.files, o.config, 0, 1);
  std::vector<ModelShard> parts;
  for (int rank = 0; rank < 5; ++rank) parts.push_back(load_shard(o.files, o.config, rank, 5));
  for (size_t i = 0; i < 7; ++i) {
    std::vector<at::Tensor> rows;
    for (ModelShard& part : parts) rows.push_back(*part.layers[1].all()[i]);
    EXPECT_TRUE(at::cat(rows).equal(*whole.layers[1].all()[i])) << "matrix " << i;
  }
  const test::TensorMap files = test::read_tensors(test::fixture("gqa4") / "model.safetensors");
  const std::string p = "model.layers.1.";
  EXPECT_TRUE(whole.layers[1].gate.equal(
      files.at(p + "mlp.gate_proj.weight").mul(files.at(p + "post_attention_layernorm.weight"))));
  EXPECT_TRUE(whole.layers[1].down_t.equal(files.at(p + "mlp.down_proj.weight").t()));
  EXPECT_TRUE(whole.head.equal(files.at("lm_head.weight").mul(files.at("model.norm.weight"))));
}

TEST(ShardedWeights, EmbeddingRowsArriveInOrderAlsoForEmptyAndRepeatedIds) {
  const Opened o("mha");
  dist::SingleCommunicator single;
  ShardedWeights resident(single, o.config, load_shard(o.files, o.config, 0, 1), at::kFloat);
  const at::Tensor table = resident.embed(at::arange(o.config.vocab_size, at::kLong));
  dist::run_ranks(3, [&](dist::Communicator& comm) {
    ShardedWeights weights(comm, o.config, load_shard(o.files, o.config, comm.rank(), 3), at::kFloat);
    // Rank 0 asks for nothing, the others for different numbers of rows, some twice.
    const at::Tensor ids = at::arange(17 * comm.rank(), at::kLong).mul(13).remainder(o.config.vocab_size);
    EXPECT_TRUE(weights.embed(ids).equal(table.index_select(0, ids))) << comm.rank();
  });
}

TEST(ShardedWeights, WalksUpAndDownRepeatedlyWithTheSameWeights) {
  const Opened o("gqa4");
  const ModelShard whole = load_shard(o.files, o.config, 0, 1);
  dist::run_ranks(2, [&](dist::Communicator& comm) {
    ShardedWeights weights(comm, o.config, load_shard(o.files, o.config, comm.rank(), 2), at::kDouble);
    for (int walk = 0; walk < 3; ++walk) {
      weights.begin_walk(walk == 1 ? Walk::kForward : Walk::kForwardBackward);
      const auto expect_layer = [&](int64_t l) {
        EXPECT_TRUE(weights.layer(l).up.equal(whole.layers[static_cast<size_t>(l)].up.to(at::kDouble))) << l;
      };
      for (int64_t l = 0; l < o.config.num_layers; ++l) expect_layer(l);
      EXPECT_TRUE(weights.head().equal(whole.head.to(at::kDouble)));
      for (int64_t l = o.config.num_layers - 1; walk != 1 && l >= 0; --l) expect_layer(l);
    }
  });
}

}  // namespace
}  // namespace spq::model
