#include "data/safetensors.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "safetensors_files.h"
#include "support.h"

namespace spq::data {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

struct BadFile {
  const char* name;
  std::string bytes;
  std::string expected;  // part of the message
};

std::string with_entries(const std::string& entries, size_t data_size) {
  return safetensors_bytes(fmt::format("{{{}}}", entries), std::string(data_size, 'x'));
}

const std::string kGood = entry_json("a", "F32", "[2]", 0, 8);

std::vector<BadFile> bad_files() {
  const std::string good = with_entries(kGood, 8);
  const std::string lying = std::string("\xff\xff\xff\xff\xff\xff\xff\x7f", 8) + good.substr(8);
  const std::string long_header = std::string("\xff\x00\x00\x00\x00\x00\x00\x00", 8) + good.substr(8);
  return {
      {"Empty", "", "empty file"},
      {"ShorterThanItsLengthField", "abc", "too short"},
      {"HeaderLengthAbsurd", lying, "header length 9223372036854775807"},
      {"HeaderLengthBeyondTheFile", long_header, "header length 255, but only"},
      {"Truncated", good.substr(0, good.size() - 1), "do not lie in the 7 bytes of data: truncated?"},
      {"NotJson", safetensors_bytes("{nonsense}", ""), "not valid JSON"},
      {"NotAnObject", safetensors_bytes("[1]", ""), "does not start with '{'"},
      {"NestedDeeply", safetensors_bytes(fmt::format(R"({{"a":{})", std::string(5000, '[')), ""),
       "levels deep"},
      {"Gap", with_entries(kGood + "," + entry_json("b", "F32", "[1]", 12, 16), 16),
       "tensor 'b' starts at byte 12 of the data, expected 8 (gap)"},
      {"Overlap", with_entries(kGood + "," + entry_json("b", "F32", "[1]", 4, 8), 8), "(overlap)"},
      {"TrailingBytes", with_entries(kGood, 11), "3 bytes after the last tensor"},
      {"UnknownDtype", with_entries(entry_json("a", "F33", "[2]", 0, 8), 8),
       "tensor 'a': unknown dtype 'F33'"},
      {"ShapeAgainstOffsets", with_entries(entry_json("a", "F32", "[3]", 0, 8), 8),
       "tensor 'a': data_offsets span 8 bytes, but dtype F32 and shape [3] need 12"},
      {"ShapeOverflows", with_entries(entry_json("a", "F32", "[4611686018427387904,4]", 0, 8), 8),
       "is too large"},
      {"NegativeSize", with_entries(entry_json("a", "F32", "[-2]", 0, 8), 8), "expected sizes of 0 or more"},
      {"FractionalSize", with_entries(entry_json("a", "F32", "[2.0]", 0, 8), 8),
       "expected sizes of 0 or more"},
      {"OffsetsBackwards", with_entries(entry_json("a", "F32", "[2]", 8, 0), 8), "do not lie in"},
      {"DuplicateKey", with_entries(kGood + "," + kGood, 8), "duplicate key 'a'"},
      {"EntryNotAnObject", with_entries("\"a\":3", 0), "expected an object of dtype, shape and data_offsets"},
      {"OffsetsMissing", with_entries(R"("a":{"dtype":"F32","shape":[2]})", 8),
       "expected an object of dtype"},
      {"MetadataNotText", with_entries(R"("__metadata__":{"n":1})", 0),
       "__metadata__ 'n' is 1, expected a string"},
  };
}

class MalformedSafetensors : public ::testing::TestWithParam<BadFile> {};

TEST_P(MalformedSafetensors, IsRefusedNamingTheFile) {
  const TempDir folder;
  const auto path = folder.path() / "bad.safetensors";
  write_text(path, GetParam().bytes);
  EXPECT_THAT(error_of([&] { const SafetensorsFile file(path); }),
              AllOf(StartsWith(path.string() + ":"), HasSubstr(GetParam().expected)));
}

INSTANTIATE_TEST_SUITE_P(Each, MalformedSafetensors, ::testing::ValuesIn(bad_files()),
                         [](const auto& each) { return each.param.name; });

TEST(Safetensors, ReadsEntriesWhateverTheirOrderInTheHeader) {
  const TempDir folder;
  const auto path = folder.path() / "a.safetensors";
  const std::string header =
      fmt::format("{{{},{},{},{}}}   ", entry_json("z", "BF16", "[1,2]", 8, 12), kGood,
                  entry_json("none", "F32", "[0,5]", 8, 8), entry_json("one", "U8", "[]", 12, 13));
  write_text(path, safetensors_bytes(header, std::string(13, 'x')));
  const SafetensorsFile file(path);
  EXPECT_EQ(file.entries().size(), 4u);
  const TensorEntry& z = file.entries().at("z");
  EXPECT_EQ(z.dtype, "BF16");
  EXPECT_EQ(z.shape, (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(z.begin, 8 + header.size() + 8);
  EXPECT_EQ(z.end, z.begin + 4);
}

TEST(Safetensors, NamesAFileThatIsNotThere) {
  const TempDir folder;
  const auto path = folder.path() / "no.safetensors";
  EXPECT_THAT(error_of([&] { const SafetensorsFile file(path); }),
              StartsWith(path.string() + ": cannot open"));
  EXPECT_THAT(error_of([&] { const SafetensorsFile file(folder.path()); }), HasSubstr("not a regular file"));
}

}  // namespace
}  // namespace spq::data
