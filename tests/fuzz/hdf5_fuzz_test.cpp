// HDF5 files: sealed checkpoints, checkpoints sealed again after the damage, token files.
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "bytes.h"
#include "core/error.h"
#include "data/checkpoint.h"
#include "data/sealed_file.h"
#include "data/token_file.h"
#include "runner.h"
#include "tests/data/examples.h"
#include "tests/data/support.h"
#include "tests/data/token_writer.h"

namespace spq::fuzz {
namespace {

namespace fs = std::filesystem;

constexpr const char* kCheckpoint = "checkpoint-40.h5";
constexpr const char* kTokens = "tokens.h5";

std::string checkpoint_bytes(const data::Checkpoint& checkpoint) {
  const data::TempDir folder;
  data::write_checkpoint(folder.path() / kCheckpoint, checkpoint);
  return data::read_text(folder.path() / kCheckpoint);
}

std::string token_bytes(const data::TokenFileRecipe& recipe) {
  const data::TempDir folder;
  data::write_token_file(folder.path() / kTokens, recipe);
  return data::read_text(folder.path() / kTokens);
}

std::vector<std::string> checkpoints() {
  data::Checkpoint small = data::example_checkpoint();
  small.momentum.reset();
  return {checkpoint_bytes(data::example_checkpoint()), checkpoint_bytes(small)};
}

/// What tools/tokenize.py writes, and what else we read: other string types, compression.
std::vector<std::string> token_files() {
  data::TokenFileRecipe recipe;
  recipe.tokens.resize(50);
  std::iota(recipe.tokens.begin(), recipe.tokens.end(), 10u);
  std::vector<std::string> files = {data::read_text(data::source_folder() / "python_tokens.h5")};
  for (const bool fixed : {false, true}) {
    for (const bool gzip : {false, true}) {
      recipe.fixed_strings = fixed;
      recipe.gzip = gzip;
      files.push_back(token_bytes(recipe));
    }
  }
  return files;
}

std::string mutate_hdf5(std::string bytes, const std::string& donor, Random& random) {
  static const std::vector<std::string> kBlocks = {"TREE", "SNOD", "HEAP", "GCOL", "\x89HDF"};
  const size_t kind = random.below(100);
  if (kind < 35) return mutate_bytes(std::move(bytes), donor, random);
  for (size_t times = 1 + random.below(3); times > 0; --times) {
    if (kind < 70) {
      mutate_block(bytes, kBlocks, random);
    } else {
      mutate_small_number(bytes, random);
    }
  }
  return bytes;
}

void read_tokens(const fs::path& folder) {
  const data::TokenFile file(folder / kTokens);
  constexpr int64_t kWindow = 1000;
  constexpr int64_t kMaxWindows = 100;
  Attempts attempt;
  for (int64_t i = 0; i < kMaxWindows && i * kWindow < file.size(); ++i) {
    const int64_t begin = i * kWindow;
    attempt([&] { file.read(begin, std::min(kWindow, file.size() - begin), file.vocab_size()); });
  }
  attempt([&] { file.read(file.size() - 1, 1, file.vocab_size()); });
  attempt.finish();
}

TEST(HostileFiles, ChangedCheckpointsAreRefused) {
  const std::vector<std::string> originals = checkpoints();
  const auto make = [&](Random& random) {
    return Files{{kCheckpoint, mutate_hdf5(random.pick(originals), random.pick(originals), random)}};
  };
  const auto read = [&](const fs::path& folder) {
    data::read_checkpoint(folder / kCheckpoint);
    const std::string bytes = data::read_text(folder / kCheckpoint);
    if (std::ranges::find(originals, bytes) == originals.end()) {
      throw std::logic_error("accepts a checkpoint that was changed");
    }
  };
  fuzz({"sealed-checkpoint", make, read, /*some_are_accepted=*/false});
}

TEST(HostileFiles, CheckpointsSealedAfterTheDamageAreReadOrRefused) {
  const std::vector<std::string> originals = checkpoints();
  const auto make = [&](Random& random) {
    const std::string& original = random.pick(originals);
    // The seal itself is not worth damaging here.
    const std::string inside =
        mutate_hdf5(original.substr(data::kSealSize), random.pick(originals).substr(data::kSealSize), random);
    std::string bytes = original.substr(0, data::kSealSize) + inside + (inside.empty() ? "x" : "");
    data::seal(bytes);
    return Files{{kCheckpoint, bytes}};
  };
  fuzz({"checkpoint", make, [](const fs::path& folder) { data::read_checkpoint(folder / kCheckpoint); }});
}

TEST(HostileFiles, TokenFilesAreReadOrRefused) {
  const std::vector<std::string> originals = token_files();
  const auto make = [&](Random& random) {
    return Files{{kTokens, mutate_hdf5(random.pick(originals), random.pick(originals), random)}};
  };
  fuzz({"tokens", make, read_tokens});
}

}  // namespace
}  // namespace spq::fuzz
