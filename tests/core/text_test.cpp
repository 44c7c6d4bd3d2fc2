#include "core/text.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

namespace {

TEST(EditDistance, CountsInsertionsDeletionsSubstitutionsAndSwaps) {
  EXPECT_EQ(spq::edit_distance("", ""), 0u);
  EXPECT_EQ(spq::edit_distance("abc", ""), 3u);
  EXPECT_EQ(spq::edit_distance("", "abcd"), 4u);
  EXPECT_EQ(spq::edit_distance("steps", "step"), 1u);
  EXPECT_EQ(spq::edit_distance("kitten", "sitting"), 3u);
  EXPECT_EQ(spq::edit_distance("tsep", "step"), 1u);
  EXPECT_EQ(spq::edit_distance("optimiser", "optimizer"), 1u);
}

TEST(EditDistance, IsSymmetric) {
  EXPECT_EQ(spq::edit_distance("learning_rate", "lerning_raet"),
            spq::edit_distance("lerning_raet", "learning_rate"));
}

TEST(Nearest, FindsAMisspeltName) {
  std::vector<std::string> names = {"optimizer.steps", "optimizer.learning_rate", "batch.sequences"};
  EXPECT_EQ(spq::nearest("optimizer.lerning_rate", names), "optimizer.learning_rate");
  EXPECT_EQ(spq::nearest("batch.sequence", names), "batch.sequences");
}

TEST(Nearest, KeepsTheFirstOfEquallyNearNames) {
  std::vector<std::string> names = {"cat", "car"};
  EXPECT_EQ(spq::nearest("cab", names), "cat");
}

TEST(Nearest, SuggestsNothingForAStrangeWord) {
  std::vector<std::string> names = {"optimizer.steps", "r1"};
  EXPECT_EQ(spq::nearest("completely_else", names), std::nullopt);
  EXPECT_EQ(spq::nearest("xy", names), std::nullopt) << "no letter in common is no likeness";
  EXPECT_EQ(spq::nearest("word", {}), std::nullopt);
}

TEST(HumanizeBytes, UsesBinaryUnitsAndCarriesWhenRounding) {
  EXPECT_EQ(spq::humanize_bytes(0), "0 B");
  EXPECT_EQ(spq::humanize_bytes(1023), "1023 B");
  EXPECT_EQ(spq::humanize_bytes(1024), "1.0 KiB");
  EXPECT_EQ(spq::humanize_bytes(1536), "1.5 KiB");
  EXPECT_EQ(spq::humanize_bytes((1u << 20) - 1), "1.0 MiB");
  EXPECT_EQ(spq::humanize_bytes(18897856102ull), "17.6 GiB");
  EXPECT_EQ(spq::humanize_bytes(std::numeric_limits<uint64_t>::max()), "16.0 EiB");
}

TEST(HumanizeDuration, PicksTwoUnitsAndCarriesWhenRounding) {
  EXPECT_EQ(spq::humanize_duration(0), "0.0 s");
  EXPECT_EQ(spq::humanize_duration(4.24), "4.2 s");
  EXPECT_EQ(spq::humanize_duration(59.97), "1m 00s");
  EXPECT_EQ(spq::humanize_duration(185), "3m 05s");
  EXPECT_EQ(spq::humanize_duration(3599.7), "1h 00m");
  EXPECT_EQ(spq::humanize_duration(7380), "2h 03m");
  EXPECT_EQ(spq::humanize_duration(3 * 86400 + 4 * 3600), "3d 04h");
}

TEST(HumanizeDuration, ShowsAnUnknownTimeAsAQuestionMark) {
  EXPECT_EQ(spq::humanize_duration(-1), "?");
  EXPECT_EQ(spq::humanize_duration(std::nan("")), "?");
  EXPECT_EQ(spq::humanize_duration(std::numeric_limits<double>::infinity()), "?");
  EXPECT_EQ(spq::humanize_duration(1e300), "?");
}

}  // namespace
