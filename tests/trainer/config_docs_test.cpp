#include "trainer/config_docs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/trainer/config_test_tools.h"
#include "trainer/config_keys.h"

namespace spq::trainer {
namespace {

TEST(ConfigDocs, ThePageInDocsIsWhatTheTableSays) {
  EXPECT_EQ(read_text(std::string(SPQ_SOURCE_DIR) + "/docs/configuration.md"), configuration_page())
      << "run: build/release/spq_config_docs > docs/configuration.md";
}

TEST(ConfigDocs, ThePageHasARowForEveryKey) {
  std::string page = configuration_page();
  Config config;
  for (const data::Key& key : bind_keys(config))
    EXPECT_THAT(page, testing::HasSubstr("\n| `" + key.path + "` | " + key.type));
}

TEST(ConfigDocs, EveryRowHasAsManyCellsAsTheHeading) {
  std::string page = configuration_page();
  for (size_t start = 0; start < page.size();) {
    size_t end = page.find('\n', start);
    std::string line = page.substr(start, end - start);
    start = end + 1;
    if (!line.starts_with("|")) continue;
    size_t bars = 0;
    for (size_t i = 0; i < line.size(); ++i) bars += line[i] == '|' && (i == 0 || line[i - 1] != '\\');
    EXPECT_EQ(bars, 8u) << line;
  }
}

}  // namespace
}  // namespace spq::trainer
