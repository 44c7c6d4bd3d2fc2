// Writes that fail half-way, as on a full disk: here the process may not write files beyond a certain size.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <optional>

#include "data/checkpoint.h"
#include "data/rotation_file.h"
#include "examples.h"
#include "support.h"

namespace spq::data {
namespace {

namespace fs = std::filesystem;

/// Runs `action` in this process with files limited to 64 KiB, prints the error it gives, exits with 3.
[[noreturn]] void run_limited(const std::function<void()>& action) {
  std::signal(SIGXFSZ, SIG_IGN);  // the write then fails instead
  const rlimit limit{64 << 10, 64 << 10};
  setrlimit(RLIMIT_FSIZE, &limit);
  const std::string error = error_of(action);
  std::fputs(error.empty() ? "no error" : error.c_str(), stderr);
  std::exit(3);
}

/// A death test runs the whole test again in its child, where it has to find the folder of the first run.
class FullDisk : public ::testing::Test {
 protected:
  FullDisk() {
    GTEST_FLAG_SET(death_test_style, "threadsafe");  // the child starts without our threads
    if (std::getenv(kVariable) == nullptr) setenv(kVariable, own_.emplace().path().c_str(), 1);
    folder_ = std::getenv(kVariable);
  }
  ~FullDisk() override {
    if (own_) unsetenv(kVariable);
  }
  static constexpr const char* kVariable = "SPQ_FULL_DISK_FOLDER";
  std::optional<TempDir> own_;
  fs::path folder_;
};

TEST_F(FullDisk, CheckpointKeepsThePreviousFileAndRemovesTheHalfWrittenOne) {
  const fs::path path = folder_ / "checkpoint-1.h5";
  const Checkpoint small = example_checkpoint();
  write_checkpoint(path, small);
  Checkpoint large = small;
  large.rotations = random_rotations(256, 2, 32, 3);  // R1 alone is 256 KiB
  large.momentum.reset();
  EXPECT_EXIT(run_limited([&] { write_checkpoint(path, large); }), ::testing::ExitedWithCode(3),
              "checkpoint-1.h5: cannot write");
  EXPECT_TRUE(same(read_checkpoint(path), small));
  EXPECT_EQ(count_files(folder_), 1u);
}

TEST_F(FullDisk, RbinKeepsThePreviousFileAndRemovesTheHalfWrittenOne) {
  const fs::path path = folder_ / "R.bin";
  const Rotations small = random_rotations(8, 2, 4, 3);
  write_rbin(path, small);
  const Rotations large = random_rotations(256, 2, 32, 3);
  EXPECT_EXIT(run_limited([&] { write_rbin(path, large); }), ::testing::ExitedWithCode(3),
              "R.bin: cannot write");
  EXPECT_TRUE(same_bits(read_rotations(path, 8, 2, 4), small));
  EXPECT_EQ(count_files(folder_), 1u);
}

}  // namespace
}  // namespace spq::data
