#include "data/config_docs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <span>
#include <string>
#include <vector>

#include "tests/data/config_example.h"

namespace spq::data {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

std::string tables(ResumeColumn resume) {
  ExampleConfig defaults;
  return config_tables(bind_keys(defaults), resume);
}

TEST(ConfigTables, StartWithTheKeysOutsideAllSections) {
  EXPECT_THAT(tables(ResumeColumn::kShow),
              StartsWith("\n## Files\n\n"
                         "| key | type | values | unit | default | resume | meaning |\n"
                         "|---|---|---|---|---|---|---|\n"
                         "| `model` | path | a directory |  | none: required | no | What to read. |\n"
                         "| `output_dir` | path | a directory |  | none: required | yes | Where to write. |\n"
                         "\n## `quant`\n\n| key |"));
}

TEST(ConfigTables, OmitTheResumeColumnWhereAskedTo) {
  std::string page = tables(ResumeColumn::kOmit);
  EXPECT_THAT(page, StartsWith("\n## Files\n\n"
                               "| key | type | values | unit | default | meaning |\n"
                               "|---|---|---|---|---|---|\n"
                               "| `model` | path | a directory |  | none: required | What to read. |\n"));
  EXPECT_THAT(page, Not(HasSubstr("resume |")));
}

TEST(ConfigTables, EscapeBarsInCells) {
  EXPECT_THAT(tables(ResumeColumn::kShow), HasSubstr("\n| `optimizer.steps` | integer | 0 or more | steps | "
                                                     "`100` | if constant | How far \\| long. |\n"));
}

TEST(ConfigTables, SayThatADefaultIsEmpty) {
  EXPECT_THAT(tables(ResumeColumn::kShow),
              HasSubstr("\n| `rotation.file` | path | a file, or empty |  | empty | yes | "));
}

}  // namespace
}  // namespace spq::data
