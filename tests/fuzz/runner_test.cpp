// The runner sees what it is there to see.
#include "runner.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <stdexcept>
#include <vector>

#include "core/error.h"

namespace spq::fuzz {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

/// What run() finds in two inputs of which each does `read`.
Outcome outcome_of(const std::function<void(const fs::path& folder)>& read) {
  return run({"runner", [](Random&) { return Files{{"file", "x"}}; }, read}, 1, 0, 2);
}

std::string fault_of(const std::function<void(const fs::path& folder)>& read) {
  const Outcome outcome = outcome_of(read);
  EXPECT_EQ(outcome.faults.size(), 2u);
  return outcome.faults.empty() ? "" : outcome.faults[0].what;
}

TEST(Runner, CountsWhatIsAcceptedAndWhatIsRefused) {
  EXPECT_EQ(outcome_of([](const fs::path&) {}).accepted, 2u);
  const Outcome refused = outcome_of([](const fs::path& folder) { fail("{}: damaged", folder.string()); });
  EXPECT_EQ(refused.refused, 2u);
  EXPECT_TRUE(refused.faults.empty());
}

TEST(Runner, SeesForeignExceptions) {
  EXPECT_THAT(fault_of([](const fs::path&) { throw std::out_of_range("index"); }),
              HasSubstr("another exception: index"));
}

TEST(Runner, SeesMessagesThatAreNotOneLineOrDoNotNameTheFile) {
  EXPECT_THAT(fault_of([](const fs::path& folder) { fail("{}: two\nlines", folder.string()); }),
              HasSubstr("control characters"));
  EXPECT_THAT(fault_of([](const fs::path&) { fail("damaged"); }), HasSubstr("without the file"));
  EXPECT_THAT(
      fault_of([](const fs::path& folder) { fail("{}: {}", folder.string(), std::string(5000, 'x')); }),
      HasSubstr("characters"));
}

TEST(Runner, SeesARequestForTooMuchMemory) {
  EXPECT_THAT(fault_of([](const fs::path&) { std::vector<char> untouched(size_t{100} << 20); }),
              HasSubstr("too much memory"));
  EXPECT_THAT(fault_of([](const fs::path&) {
                std::vector<std::vector<char>> pieces;
                for (int i = 0; i < 100; ++i) pieces.emplace_back(size_t{1} << 20);
              }),
              HasSubstr("too much memory"));
}

TEST(Runner, SeesACrash) {
  EXPECT_THAT(fault_of([](const fs::path&) {
                std::signal(SIGABRT, SIG_DFL);
                std::abort();
              }),
              HasSubstr("crashes"));
}

TEST(Runner, SeesAFileLeftOpen) {
  EXPECT_THAT(fault_of([](const fs::path& folder) { open((folder / "file").c_str(), O_RDONLY); }),
              HasSubstr("leaves a file open"));
}

}  // namespace
}  // namespace spq::fuzz
