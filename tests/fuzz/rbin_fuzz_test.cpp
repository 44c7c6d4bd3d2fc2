// R.bin: zip archives and the pickle programs in them.
#include "data/rbin.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "archive.h"
#include "bytes.h"
#include "core/error.h"
#include "data/rotation_file.h"
#include "runner.h"
#include "tests/data/examples.h"
#include "tests/data/support.h"

namespace spq::fuzz {
namespace {

namespace fs = std::filesystem;

constexpr const char* kFile = "R.bin";

/// Ours, and one that Python wrote.
std::vector<std::string> archives() {
  const data::TempDir folder;
  data::write_rbin(folder.path() / kFile, data::random_rotations(8, 2, 4, 1));
  return {data::read_text(folder.path() / kFile), data::read_text(data::source_folder() / "python_R.bin")};
}

void mutate_entries(std::vector<ZipEntry>& entries, const std::string& donor, Random& random) {
  const size_t i = random.below(entries.size());
  const auto at = entries.begin() + static_cast<std::ptrdiff_t>(i);
  switch (random.below(6)) {
    case 0:
      entries.erase(at);
      break;
    case 1:
      entries.push_back(ZipEntry(*at));
      break;
    case 2:
      entries[i].data.swap(entries[random.below(entries.size())].data);
      break;
    case 3:
      if (!at->name.empty()) at->name = mutate_bytes(at->name, "../x/data/0", random);
      break;
    default:
      at->data = mutate_bytes(at->data, donor, random);
  }
}

std::string mutate_archive(const std::string& archive, const std::string& donor, Random& random) {
  const size_t kind = random.below(100);
  if (kind < 20) return mutate_bytes(archive, donor, random);
  std::vector<ZipEntry> entries = zip_entries(archive);
  const auto is_program = [](const ZipEntry& entry) { return entry.name.ends_with("data.pkl"); };
  const auto program = std::ranges::find_if(entries, is_program);
  if (kind < 65 && program != entries.end()) {
    program->data =
        random.chance(80) ? mutate_pickle(program->data, random) : mutate_bytes(program->data, donor, random);
  } else {
    mutate_entries(entries, donor, random);
  }
  return build_zip(entries, kind >= 80, random);
}

TEST(HostileFiles, TorchArchivesAreReadOrRefused) {
  const std::vector<std::string> originals = archives();
  const auto make = [&](Random& random) {
    return Files{{kFile, mutate_archive(random.pick(originals), random.pick(originals), random)}};
  };
  const auto read = [](const fs::path& folder) {
    Attempts attempt;
    attempt([&] {
      for (const auto& [name, tensor] : data::read_tensor_table(folder / kFile)) {
        tensor.sum().item<double>();  // touches every number
      }
    });
    attempt([&] { data::read_rotations(folder / kFile, 8, 2, 4); });
    attempt.finish();
  };
  fuzz({"rbin", make, read});
}

}  // namespace
}  // namespace spq::fuzz
