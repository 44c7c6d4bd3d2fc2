#include "data/checkpoint.h"

#include <ATen/ops/empty.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "examples.h"
#include "support.h"

namespace spq::data {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class CheckpointTest : public ::testing::Test {
 protected:
  std::string writing_error(const Checkpoint& checkpoint) const {
    return error_of([&] { write_checkpoint(path_, checkpoint); });
  }
  std::vector<std::string> listed() const {
    std::vector<std::string> names;
    for (const fs::path& path : list_checkpoints(folder_.path())) names.push_back(path.filename().string());
    return names;
  }
  const TempDir folder_;
  const fs::path path_ = folder_.path() / "checkpoint-40.h5";
  Checkpoint checkpoint_ = example_checkpoint();
};

TEST_F(CheckpointTest, RoundTripIsBitExact) {
  write_checkpoint(path_, checkpoint_);
  EXPECT_TRUE(same(read_checkpoint(path_), checkpoint_));
  EXPECT_EQ(count_files(folder_.path()), 1u);
}

TEST_F(CheckpointTest, RoundTripWithoutMomentumOrTexts) {
  checkpoint_.momentum.reset();
  checkpoint_.config_yaml.clear();
  checkpoint_.model_fingerprint.clear();
  checkpoint_.versions.clear();
  write_checkpoint(path_, checkpoint_);
  EXPECT_TRUE(same(read_checkpoint(path_), checkpoint_));
}

TEST_F(CheckpointTest, RoundTripOfManyChunksAndALongConfiguration) {
  checkpoint_.rotations = random_rotations(640, 3, 32, 9);  // R1 takes two chunks
  checkpoint_.momentum = random_rotations(640, 3, 32, 10);
  checkpoint_.config_yaml = std::string(200000, 'y');
  write_checkpoint(path_, checkpoint_);
  EXPECT_TRUE(same(read_checkpoint(path_), checkpoint_));
}

TEST_F(CheckpointTest, SignedZerosAndTransposedMatricesSurvive) {
  checkpoint_.rotations.r1 = checkpoint_.rotations.r1.t();
  checkpoint_.momentum->r1.zero_().select(0, 0).fill_(-0.0);
  write_checkpoint(path_, checkpoint_);
  const Checkpoint read = read_checkpoint(path_);
  EXPECT_TRUE(same(read, checkpoint_));
  EXPECT_TRUE(read.momentum->r1.select(0, 0).signbit().all().item<bool>());
}

TEST_F(CheckpointTest, SameContentGivesTheSameBytes) {
  write_checkpoint(path_, checkpoint_);
  const std::string first = read_text(path_);
  write_checkpoint(path_, checkpoint_);
  EXPECT_EQ(read_text(path_), first);
}

TEST_F(CheckpointTest, RefusesToWriteWhatCouldNotBeResumed) {
  Checkpoint bad = checkpoint_;
  bad.rotations.r1 = at::empty({8, 7}, at::TensorOptions(at::kFloat));
  EXPECT_THAT(writing_error(bad), HasSubstr("R1 has shape [8, 7], expected [8, 8]"));
  bad = checkpoint_;
  bad.rotations.r2[1] = checkpoint_.rotations.r2[1].clone();
  bad.rotations.r2[1].select(0, 0).fill_(std::numeric_limits<float>::quiet_NaN());
  EXPECT_THAT(writing_error(bad), HasSubstr("R2 of layer 1 holds numbers that are not finite"));
  bad = checkpoint_;
  bad.momentum->r1 = checkpoint_.momentum->r1.to(at::kDouble);
  EXPECT_THAT(writing_error(bad), HasSubstr("momentum: R1 is not fp32"));
  bad = checkpoint_;
  bad.momentum->r2.pop_back();
  EXPECT_THAT(writing_error(bad), HasSubstr("momentum: holds R2 of 1 layers, expected 2"));
  bad = checkpoint_;
  bad.rotations.r2.clear();
  EXPECT_THAT(writing_error(bad), HasSubstr("an R2 for every layer"));
  bad = checkpoint_;
  bad.config_yaml += '\0';
  EXPECT_THAT(writing_error(bad), HasSubstr("attribute 'config_yaml' contains a NUL character"));
  EXPECT_EQ(count_files(folder_.path()), 0u);
}

TEST_F(CheckpointTest, AFailingWriteKeepsThePreviousFile) {
  write_checkpoint(path_, checkpoint_);
  Checkpoint bad = example_checkpoint();
  bad.config_yaml += '\0';  // noticed while the new file is being built
  EXPECT_NE(writing_error(bad), "");
  EXPECT_TRUE(same(read_checkpoint(path_), checkpoint_));
  EXPECT_EQ(count_files(folder_.path()), 1u);
}

TEST_F(CheckpointTest, NamesThePathThatCannotBeWritten) {
  const fs::path missing = folder_.path() / "missing" / "checkpoint-1.h5";
  EXPECT_THAT(error_of([&] { write_checkpoint(missing, checkpoint_); }),
              HasSubstr(missing.string() + ": cannot write: no folder"));
  fs::create_directory(path_);
  EXPECT_THAT(writing_error(checkpoint_), HasSubstr(path_.string() + ": cannot write: it is a folder"));
  EXPECT_EQ(count_files(folder_.path()), 1u);
}

TEST_F(CheckpointTest, ListsTheNewestFirstAndOnlyCheckpoints) {
  for (const char* name :
       {"checkpoint-2.h5", "checkpoint-10.h5", "checkpoint-9.h5", ".checkpoint-11.h5.12.tmp",
        "checkpoint-12.h5.tmp", "checkpoint-.h5", "checkpoint-013.h5", "checkpoint--1.h5",
        "checkpoint-99999999999999999999.h5", "rotation.h5"}) {
    write_text(folder_.path() / name, "x");
  }
  fs::create_directory(folder_.path() / "checkpoint-20.h5");
  EXPECT_EQ(listed(), (std::vector<std::string>{"checkpoint-10.h5", "checkpoint-9.h5", "checkpoint-2.h5"}));
  EXPECT_EQ(checkpoint_path("out", 7), fs::path("out/checkpoint-7.h5"));
}

TEST_F(CheckpointTest, ListOfAMissingFolderIsEmptyAndOfAFileAnError) {
  EXPECT_TRUE(list_checkpoints(folder_.path() / "no").empty());
  write_text(path_, "x");
  EXPECT_THAT(error_of([&] { list_checkpoints(path_); }), HasSubstr(path_.string() + ": cannot list"));
}

TEST_F(CheckpointTest, PruningKeepsTheNewestAndTouchesNothingElse) {
  for (const int64_t step : {1, 2, 10, 11}) write_text(checkpoint_path(folder_.path(), step), "x");
  write_text(folder_.path() / "notes.txt", "x");
  prune_checkpoints(folder_.path(), 5);
  EXPECT_EQ(listed().size(), 4u);
  prune_checkpoints(folder_.path(), 2);
  EXPECT_EQ(listed(), (std::vector<std::string>{"checkpoint-11.h5", "checkpoint-10.h5"}));
  EXPECT_EQ(count_files(folder_.path()), 3u);
}

}  // namespace
}  // namespace spq::data
