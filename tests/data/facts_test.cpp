#include "data/facts.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "tests/data/support.h"

namespace spq::data {
namespace {

constexpr size_t kMiB = size_t{1} << 20;

std::string value_of(const std::vector<Fact>& facts, const std::string& name) {
  const auto fact = std::find_if(facts.begin(), facts.end(), [&](const Fact& f) { return f.name == name; });
  return fact == facts.end() ? "(not stated)" : fact->value;
}

TEST(ProgramFacts, HashTheFileOfThisProcess) {
  const std::vector<Fact> facts = program_facts("1.2.3");
  EXPECT_EQ(value_of(facts, "program version"), "1.2.3");
  EXPECT_EQ(value_of(facts, "program file").size(), 16u);
  const std::string hdf5 = value_of(facts, "HDF5 library");
  EXPECT_EQ(std::count(hdf5.begin(), hdf5.end(), '.'), 2) << hdf5;
}

TEST(ConfigFacts, StateEveryKeyAndBothFiles) {
  const TempDir folder;
  write_text(folder.path() / "run.yaml", "steps: 3\n");
  write_text(folder.path() / "config.json", "{}");
  int64_t steps = 3;
  std::string text = "one\ntwo";
  const std::vector<Key> keys = {integer_key({.path = "optimizer.steps"}, steps, at_least(0)),
                                 text_key({.path = "name"}, text, "any")};
  const std::vector<Fact> facts = config_facts(keys, folder.path() / "run.yaml", folder.path());
  ASSERT_EQ(facts.size(), 4u);
  EXPECT_EQ(value_of(facts, "optimizer.steps"), "3");
  EXPECT_EQ(value_of(facts, "name"), "one\\x0atwo");
  write_text(folder.path() / "run.yaml", "steps: 3 # another comment\n");
  const std::vector<Fact> commented = config_facts(keys, folder.path() / "run.yaml", folder.path());
  EXPECT_NE(value_of(commented, "configuration file"), value_of(facts, "configuration file"));
  EXPECT_EQ(value_of(commented, "the model's config.json"), value_of(facts, "the model's config.json"));
}

TEST(ConfigFacts, StateThatAFileIsNotThere) {
  const TempDir folder;
  const std::vector<Fact> facts = config_facts({}, folder.path() / "run.yaml", folder.path());
  EXPECT_EQ(value_of(facts, "configuration file"), "no file");
  EXPECT_EQ(value_of(facts, "the model's config.json"), "no file");
}

TEST(SampledFact, SeesEveryByteOfASmallFileAndTheEndsAndSizeOfALargeOne) {
  const TempDir folder;
  const auto path = folder.path() / "tokens.h5";
  const auto value = [&] { return sampled_fact("tokens", path).value; };
  for (const size_t size : {size_t{1}, size_t{4097}, kMiB, kMiB + 1, 5 * kMiB + 3}) {
    write_text(path, std::string(size, 'x'));
    const std::string whole = value();
    for (const size_t position : {size_t{0}, size / 2 < kMiB / 2 ? size / 2 : size - 1, size - 1}) {
      flip_byte(path, position, 1);
      EXPECT_NE(value(), whole) << size << " bytes, position " << position;
      flip_byte(path, position, 1);
    }
    EXPECT_EQ(value(), whole);
    write_text(path, std::string(size + 1, 'x'));
    EXPECT_NE(value(), whole) << size << " bytes";
  }
}

TEST(SampledFact, TellsNoPathNoFileAndAnEmptyFileApart) {
  const TempDir folder;
  write_text(folder.path() / "empty", "");
  EXPECT_EQ(sampled_fact("tokens", "").value, "none");
  EXPECT_EQ(sampled_fact("tokens", folder.path() / "missing").value, "no file");
  EXPECT_EQ(sampled_fact("tokens", folder.path() / "empty").value, "an empty file");
}

}  // namespace
}  // namespace spq::data
