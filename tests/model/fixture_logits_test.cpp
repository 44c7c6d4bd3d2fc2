// Logits of real Hugging Face directories against those of Python's transformers
// (tools/make_logit_fixtures.py).
#include <gtest/gtest.h>

#include "data/model_files.h"
#include "dist/single_communicator.h"
#include "dist/thread_communicator.h"
#include "model/network.h"
#include "model/sharded_weights.h"
#include "tests/support/golden.h"

namespace spq::model {
namespace {

at::Tensor logits_of(dist::Communicator& comm, const std::string& name, const at::Tensor& ids) {
  const std::filesystem::path folder = test::fixture(name);
  const data::LlamaConfig config = data::read_llama_config(folder);
  const data::ModelFiles files(folder);
  check_model_files(files, config);
  ShardedWeights weights(comm, config, load_shard(files, config, comm.rank(), comm.world_size()), at::kFloat);
  Network network;
  network.config = config;
  network.rope = make_rope_table(config, ids.size(1));
  return forward_logits(network, weights, ids);
}

// F16 and BF16 files: folding gamma rounds the product back to the stored dtype (design.md 2), once more than
// transformers does.
double tolerance(const std::string& name) {
  if (name == "bf16") return 1e-2;
  return name == "f16" ? 2e-3 : 1e-5;
}

class FixtureLogits : public testing::TestWithParam<std::string> {};

TEST_P(FixtureLogits, EqualTransformersOnOneRankAndOnThree) {
  const test::TensorMap expected = test::read_tensors(test::fixture(GetParam()) / "expected.safetensors");
  dist::SingleCommunicator single;
  const at::Tensor logits = logits_of(single, GetParam(), expected.at("input_ids"));
  EXPECT_LE(test::relative_error(logits, expected.at("logits")), tolerance(GetParam()));
  dist::run_ranks(3, [&](dist::Communicator& comm) {
    const at::Tensor sharded = logits_of(comm, GetParam(), expected.at("input_ids"));
    EXPECT_TRUE(sharded.equal(logits)) << "rank " << comm.rank();
  });
}

INSTANTIATE_TEST_SUITE_P(Shapes, FixtureLogits,
                         testing::Values("gqa4", "mha", "headdim", "llama3rope", "newrope", "tied", "sharded",
                                         "bf16", "f16"),
                         [](const auto& shape) { return shape.param; });

}  // namespace
}  // namespace spq::model
