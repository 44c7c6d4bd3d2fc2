// config.json and spq_manifest.json.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "bytes.h"
#include "core/error.h"
#include "data/llama_config.h"
#include "data/transform_manifest.h"
#include "runner.h"
#include "tests/data/support.h"
#include "tree.h"

namespace spq::fuzz {
namespace {

namespace fs = std::filesystem;

std::vector<Tree> example_configs() {
  std::vector<Tree> configs;
  for (const auto& folder : fs::directory_iterator(fs::path(SPQ_SOURCE_DIR) / "tests" / "fixtures")) {
    configs.push_back(parse_tree(data::read_text(folder.path() / "config.json")));
  }
  // The folder's order is the file system's.
  std::ranges::sort(configs, {}, to_json);
  return configs;
}

data::TransformManifest example_manifest() {
  data::TransformManifest manifest;
  manifest.norms_folded = true;
  manifest.r1_sha256 = std::string(64, '1');
  manifest.r2_sha256 = std::string(64, '2');
  manifest.r3_online = true;
  manifest.r4 = {{64, 4}};
  manifest.weights = {{"gptq", 4, {{"down_proj", 8}}, 128, true, true}};
  manifest.source_fingerprint = std::string(64, 'f');
  manifest.spq_version = "0.1.0";
  return manifest;
}

std::string mutate_json(const Tree& tree, const Tree& donor, Random& random) {
  if (random.chance(20)) return mutate_bytes(to_json(tree), to_json(donor), random);
  return to_json(mutate_tree(tree, donor, random));
}

TEST(HostileFiles, ModelConfigurationsAreReadOrRefused) {
  const std::vector<Tree> configs = example_configs();
  ASSERT_GT(configs.size(), 5u);
  const auto make = [&](Random& random) {
    return Files{{"config.json", mutate_json(random.pick(configs), random.pick(configs), random)}};
  };
  fuzz({"config-json", make, [](const fs::path& folder) { data::read_llama_config(folder); }});
}

TEST(HostileFiles, ManifestsAreReadOrRefused) {
  const data::TempDir folder;
  data::write_manifest(folder.path(), example_manifest());
  const Tree tree = parse_tree(data::read_text(folder.path() / data::kManifestFile));
  const auto make = [&](Random& random) {
    return Files{{data::kManifestFile, mutate_json(tree, tree, random)}};
  };
  // What was read can be written and read again: nothing was accepted with a value that we do not mean.
  const auto read = [](const fs::path& input) {
    const data::TransformManifest manifest = data::read_manifest(input).value();
    data::describe(manifest);
    data::write_manifest(input, manifest);
    if (data::read_manifest(input) != manifest) throw std::logic_error("reads differently the second time");
  };
  fuzz({"manifest", make, read});
}

}  // namespace
}  // namespace spq::fuzz
