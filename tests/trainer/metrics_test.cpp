#include "trainer/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "tests/trainer/config_test_tools.h"

namespace spq::trainer {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

std::vector<json> records(const std::filesystem::path& path) {
  std::istringstream lines(read_text(path));
  std::vector<json> result;
  for (std::string line; std::getline(lines, line);) result.push_back(json::parse(line));
  return result;
}

std::vector<int64_t> steps(const std::filesystem::path& path) {
  std::vector<int64_t> result;
  for (const json& record : records(path)) result.push_back(record["step"]);
  return result;
}

TEST(Metrics, WritesOneObjectPerStepAndEvent) {
  TemporaryFolder folder;
  auto path = folder.path() / "metrics.jsonl";
  MetricsWriter writer(path, 0);
  writer.write({.step = 3,
                .loss = 2.5,
                .learning_rate = 1.25,
                .tokens_per_s = 1000,
                .orthogonality_error = 1e-7,
                .tangential_norm = 0.5,
                .gradient_norm = 4,
                .seconds = 0.125,
                .device = "cuda"});
  writer.write_heldout(4, 12.5);
  json step = {{"step", 3},
               {"loss", 2.5},
               {"learning_rate", 1.25},
               {"tokens_per_s", 1000.0},
               {"orthogonality_error", 1e-7},
               {"tangential_norm", 0.5},
               {"gradient_norm", 4.0},
               {"seconds", 0.125},
               {"device", "cuda"}};
  json event = {{"event", "heldout"}, {"step", 4}, {"perplexity", 12.5}};
  EXPECT_THAT(records(path), ElementsAre(step, event));
}

TEST(Metrics, EachLineCanBeReadAtOnceWhileTheWriterIsOpen) {
  TemporaryFolder folder;
  auto path = folder.path() / "metrics.jsonl";
  MetricsWriter writer(path, 0);
  for (int64_t step = 0; step < 3; ++step) {
    writer.write({.step = step});
    EXPECT_EQ(records(path).size(), static_cast<size_t>(step) + 1);
  }
}

TEST(Metrics, WritesANonFiniteNumberAsNull) {
  TemporaryFolder folder;
  auto path = folder.path() / "metrics.jsonl";
  MetricsWriter writer(path, 0);
  writer.write({.step = 0, .loss = std::nan("")});
  EXPECT_TRUE(records(path)[0]["loss"].is_null());
}

TEST(Metrics, AResumedRunDropsTheLinesItWillWriteAgain) {
  TemporaryFolder folder;
  auto path = folder.path() / "metrics.jsonl";
  {
    MetricsWriter writer(path, 0);
    for (int64_t step = 0; step < 5; ++step) writer.write({.step = step});
    writer.write_heldout(5, 9.0);
  }
  MetricsWriter writer(path, 3);
  writer.write({.step = 3});
  EXPECT_THAT(steps(path), ElementsAre(0, 1, 2, 3));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 1)
      << "a temporary file was left";
}

TEST(Metrics, KeepsEarlierLinesByteForByte) {
  TemporaryFolder folder;
  std::string odd = "{\"step\": 1,   \"loss\": 0.10000000000000000000001}\n";
  auto path = folder.write("metrics.jsonl", odd + "{\"step\": 2}\n");
  MetricsWriter writer(path, 2);
  EXPECT_EQ(read_text(path), odd);
}

TEST(Metrics, AFreshRunStartsAnEmptyFile) {
  TemporaryFolder folder;
  auto path = folder.write("metrics.jsonl", "{\"step\": 0}\n");
  MetricsWriter writer(path, 0);
  EXPECT_EQ(read_text(path), "");
}

TEST(Metrics, DropsALastLineThatWasCutOff) {
  TemporaryFolder folder;
  auto path = folder.write("metrics.jsonl", "{\"step\": 0}\n{\"step\": 1, \"lo");
  MetricsWriter writer(path, 5);
  EXPECT_EQ(read_text(path), "{\"step\": 0}\n");
}

TEST(Metrics, RefusesAFileWithOtherContentsAndLeavesItAlone) {
  TemporaryFolder folder;
  for (std::string second : {"not json\n", "[1]\n", "{\"loss\": 1}\n", "{\"step\": \"x\"}\n"}) {
    std::string text = "{\"step\": 0}\n" + second;
    auto path = folder.write("metrics.jsonl", text);
    EXPECT_THAT(error_of([&] { MetricsWriter(path, 1); }), StartsWith(path.string() + ":2: "));
    EXPECT_EQ(read_text(path), text);
  }
}

TEST(Metrics, NamesAFileThatCannotBeOpened) {
  TemporaryFolder folder;
  auto path = folder.path() / "none" / "metrics.jsonl";
  EXPECT_EQ(error_of([&] { MetricsWriter(path, 0); }),
            path.string() + ": cannot write the metrics: No such file or directory");
}

TEST(Metrics, NamesTheFileWhenTheDiskIsFull) {
  MetricsWriter writer("/dev/full", 0);
  EXPECT_EQ(error_of([&] { writer.write({.step = 0}); }),
            "/dev/full: cannot write the metrics: No space left on device");
}

}  // namespace
}  // namespace spq::trainer
