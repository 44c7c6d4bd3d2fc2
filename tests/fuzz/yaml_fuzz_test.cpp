// Configuration files.
#include <gtest/gtest.h>

#include "bytes.h"
#include "core/error.h"
#include "data/config_yaml.h"
#include "runner.h"
#include "tests/data/config_example.h"
#include "tests/data/support.h"
#include "tree.h"

namespace spq::fuzz {
namespace {

namespace fs = std::filesystem;

constexpr const char* kFile = "config.yaml";
constexpr const char* kExample = R"({"model":"\"some/folder\"","output_dir":"'out'",
  "quant":{"activation":{"bits":4},"key":{"bits":8,"symmetric":true,"group_size":-1,"clip_ratio":0.95}},
  "rotation":{"shape":"round","r4":"hadamard","file":"\"\""},
  "optimizer":{"steps":100,"learning_rate":1.5,"clip_norm":0.0},"checkpoint":{"resume":"auto"}})";

/// Texts that only YAML knows: anchors that double at every level, cycles, merges, depth, several documents.
std::string yaml_trap(Random& random) {
  const size_t depth = size_t{1} << random.below(17);
  switch (random.below(9)) {
    case 0: {
      std::string bomb = "a0: &a0 [x, x]\n";
      for (size_t i = 1; i < 30; ++i) {
        const std::string last = "*a" + std::to_string(i - 1);
        bomb += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [" + last + ", " + last + "]\n";
      }
      return bomb + "model: *a29\n";
    }
    case 1:
      return "quant: &q\n  activation: *q\n";
    case 2:
      return "model: " + std::string(depth, '[') + "\n";
    case 3:
      return "model: " + std::string(depth, '{') + std::string(depth, '}') + "\n";
    case 4: {
      std::string text;
      for (size_t i = 0; i < std::min<size_t>(depth, 600); ++i) text += std::string(i, ' ') + "a:\n";
      return text;
    }
    case 5:
      return std::string(depth, '-') + "\n";
    case 6: {
      std::string text;
      for (size_t i = 0; i < std::min<size_t>(depth, 5000); ++i) text += "- ";
      return text + "x\n";
    }
    case 7: {
      std::string text;
      for (size_t i = 0; i < std::min<size_t>(depth, 20000); ++i) text += "---\n";
      return text;
    }
    default:
      return "? " + std::string(depth, '?') + "\n: <<: &a {<<: *a}\n%YAML 9.9\n";
  }
}

std::string mutate_yaml(const Tree& example, Random& random) {
  std::string text = to_yaml(random.chance(80) ? mutate_tree(example, example, random) : example);
  if (random.chance(15)) text = mutate_bytes(text, to_json(example), random);
  if (random.chance(15)) text.insert(random.below(text.size() + 1), odd_scalar(random));
  if (random.chance(15)) text.insert(random.chance(50) ? 0 : text.size(), yaml_trap(random));
  return text;
}

TEST(HostileFiles, ConfigurationsAreReadOrRefused) {
  const Tree example = parse_tree(kExample);
  const auto make = [&](Random& random) { return Files{{kFile, mutate_yaml(example, random)}}; };
  const auto read = [](const fs::path& folder) {
    data::ExampleConfig config;
    const std::vector<data::Key> keys = data::bind_keys(config);
    const std::string origin = (folder / kFile).string();
    data::read_config_text(data::read_text(origin), origin, keys);
    // What was read is legal, and survives being written.
    const std::string written = data::config_to_yaml(keys);
    data::read_config_text(written, origin, keys);
    if (data::config_to_yaml(keys) != written) throw std::logic_error("reads differently the second time");
  };
  fuzz({"yaml", make, read});
}

}  // namespace
}  // namespace spq::fuzz
