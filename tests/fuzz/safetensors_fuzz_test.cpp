// safetensors files and model folders.
#include "data/safetensors.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "bytes.h"
#include "core/error.h"
#include "data/model_files.h"
#include "runner.h"
#include "tests/data/support.h"
#include "tree.h"

namespace spq::fuzz {
namespace {

namespace fs = std::filesystem;

constexpr const char* kSingle = "model.safetensors";
constexpr const char* kIndex = "model.safetensors.index.json";
constexpr const char* kFirstShard = "model-00001-of-00002.safetensors";
constexpr const char* kSecondShard = "model-00002-of-00002.safetensors";

/// A file in the pieces it consists of.
struct Pieces {
  Tree header;
  std::string body;
};

/// All dtypes we convert and some we do not, an empty tensor, a scalar, metadata.
Pieces mixed_file() {
  return {parse_tree(R"({"__metadata__":{"format":"pt","x":"y"},
    "a":{"dtype":"F32","shape":[6,4],"data_offsets":[0,96]},
    "b":{"dtype":"BF16","shape":[3,5],"data_offsets":[96,126]},
    "c.weight":{"dtype":"F16","shape":[2,2,2],"data_offsets":[126,142]},
    "empty":{"dtype":"F32","shape":[0,7],"data_offsets":[142,142]},
    "scalar":{"dtype":"F32","shape":[],"data_offsets":[142,146]},
    "ids":{"dtype":"I64","shape":[2],"data_offsets":[146,162]},
    "mask":{"dtype":"BOOL","shape":[3],"data_offsets":[162,165]}})"),
          std::string(165, '\x3c')};
}

Pieces shard(const std::string& first, const std::string& second) {
  return {parse_tree(R"({")" + first + R"(":{"dtype":"BF16","shape":[4,4],"data_offsets":[0,32]},")" +
                     second + R"(":{"dtype":"F32","shape":[5],"data_offsets":[32,52]}})"),
          std::string(52, '\x11')};
}

std::string file_of(const std::string& header, const std::string& body, uint64_t length) {
  std::string bytes(sizeof(length), '\0');
  std::memcpy(bytes.data(), &length, sizeof(length));
  return bytes + header + body;
}

std::string whole(const Pieces& pieces) {
  const std::string header = to_json(pieces.header);
  return file_of(header, pieces.body, header.size());
}

std::string mutate_file(const Pieces& pieces, const Pieces& donor, Random& random) {
  if (random.chance(20)) return mutate_bytes(whole(pieces), whole(donor), random);
  std::string header = to_json(mutate_tree(pieces.header, donor.header, random));
  if (random.chance(10)) header += std::string(random.below(20), ' ');
  std::string body = random.chance(85) ? pieces.body : donor.body;
  if (random.chance(10)) body.resize(random.below(2 * body.size() + 1), 'z');
  const uint64_t length = random.chance(90) ? header.size() : edge_number(header.size(), random);
  return file_of(header, body, length);
}

void read_model(const fs::path& folder) {
  const data::ModelFiles model(folder);
  Attempts attempt;
  for (const std::string& name : model.names()) {
    const std::vector<int64_t> shape = model.shape(name);
    attempt([&] { model.read(name); });
    if (shape.size() == 2) attempt([&] { model.read_columns_transposed(name, 0, shape[1]); });
    attempt([&] { model.expect_shape(name, {6, 4}); });
    model.file(name);
  }
  model.fingerprint();
  // Nearly every tensor is refused by something above: that alone makes no input a bad one.
}

Files model_folder() {
  const std::string index = R"({"metadata":{"total_size":104},"weight_map":{"a":")" +
                            std::string(kFirstShard) + R"(","b":")" + kFirstShard + R"(","c":")" +
                            kSecondShard + R"(","d":")" + kSecondShard + R"("}})";
  return {{kIndex, index}, {kFirstShard, whole(shard("a", "b"))}, {kSecondShard, whole(shard("c", "d"))}};
}

/// Shards that are gone, empty, swapped, the same twice, or hold the wrong tensors.
void mutate_shards(Files& files, Random& random) {
  const std::string name = random.chance(50) ? kFirstShard : kSecondShard;
  switch (random.below(6)) {
    case 0:
      files.erase(name);
      break;
    case 1:
      files[kFirstShard].swap(files[kSecondShard]);
      break;
    case 2:
      files[kFirstShard] = files[kSecondShard];
      break;
    case 3:
      files[name].clear();
      break;
    case 4:
      files[kSingle] = mutate_file(mixed_file(), shard("a", "b"), random);
      break;
    default:
      files[name] = mutate_file(shard("a", "b"), shard("b", "c"), random);
  }
}

TEST(HostileFiles, SafetensorsAreReadOrRefused) {
  const auto make = [](Random& random) {
    const Pieces other = shard("a", "c");
    return Files{{kSingle, random.chance(80) ? mutate_file(mixed_file(), other, random)
                                             : mutate_file(other, mixed_file(), random)}};
  };
  fuzz({"safetensors", make, read_model});
}

TEST(HostileFiles, ModelFoldersAreReadOrRefused) {
  const auto make = [](Random& random) {
    Files files = model_folder();
    if (random.chance(70)) {
      Tree index = parse_tree(files[kIndex]);
      files[kIndex] = random.chance(85) ? to_json(mutate_tree(index, mixed_file().header, random))
                                        : mutate_bytes(files[kIndex], files[kFirstShard], random);
    }
    if (random.chance(50)) mutate_shards(files, random);
    return files;
  };
  fuzz({"model-folder", make, read_model});
}

}  // namespace
}  // namespace spq::fuzz
