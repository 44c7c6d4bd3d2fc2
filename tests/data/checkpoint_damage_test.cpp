// Checkpoints that were changed after they were written, by accident or with the seal made good again.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <hdf5.h>

#include <algorithm>
#include <random>

#include "data/checkpoint.h"
#include "data/sealed_file.h"
#include "examples.h"
#include "support.h"

namespace spq::data {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class DamagedCheckpoint : public ::testing::Test {
 protected:
  DamagedCheckpoint() { write_checkpoint(path_, checkpoint_); }
  std::string reading_error() const {
    const std::string error = error_of([&] { read_checkpoint(path_); });
    EXPECT_THAT(error, StartsWith(path_.string() + ":"));
    return error;
  }
  /// Applies `change` to the open file and seals it again.
  void edit(const std::function<void(hid_t)>& change) const {
    const hid_t file = H5Fopen(path_.c_str(), H5F_ACC_RDWR, H5P_DEFAULT);
    ASSERT_GE(file, 0);
    change(file);
    ASSERT_GE(H5Fclose(file), 0);
    seal_again();
  }
  void seal_again() const {
    std::string content = read_text(path_);
    seal(content);
    write_text(path_, content);
  }
  void set_number(const char* name, int64_t value) const {
    edit([&](hid_t file) {
      const hid_t attribute = H5Aopen(file, name, H5P_DEFAULT);
      EXPECT_GE(H5Awrite(attribute, H5T_NATIVE_INT64, &value), 0);
      H5Aclose(attribute);
    });
  }
  /// Where the bytes of one row of R1 lie in the file.
  size_t position_of_r1() const {
    const at::Tensor& r1 = checkpoint_.rotations.r1;
    const std::string row(static_cast<const char*>(r1.const_data_ptr()), 32);
    return read_text(path_).find(row);
  }
  const TempDir folder_;
  const fs::path path_ = folder_.path() / "checkpoint-40.h5";
  const Checkpoint checkpoint_ = example_checkpoint();
};

TEST_F(DamagedCheckpoint, FlippedByteIsDetectedWhereverItIs) {
  const size_t size = fs::file_size(path_);
  std::mt19937_64 random(1);
  size_t refused = 0;
  for (size_t position = 0; position < size; ++position) {
    const auto mask = static_cast<char>(1 << (random() % 8));
    flip_byte(path_, position, mask);
    if (!error_of([&] { read_checkpoint(path_); }).empty()) ++refused;
    flip_byte(path_, position, mask);
  }
  EXPECT_EQ(refused, size);
  EXPECT_TRUE(same(read_checkpoint(path_), checkpoint_));
}

TEST_F(DamagedCheckpoint, CutShortIsRefused) {
  const size_t size = fs::file_size(path_);
  for (const size_t left : {size - 1, size / 2, size_t{513}, size_t{512}, size_t{100}, size_t{0}}) {
    fs::resize_file(path_, left);
    reading_error();
  }
}

TEST_F(DamagedCheckpoint, ExtraBytesAreRefused) {
  write_text(path_, read_text(path_) + "x");
  EXPECT_THAT(reading_error(), HasSubstr("damaged"));
}

TEST_F(DamagedCheckpoint, OtherFilesAreRefused) {
  write_text(path_, "something else");
  EXPECT_THAT(reading_error(), HasSubstr("not a spq checkpoint"));
  fs::remove(path_);
  EXPECT_THAT(reading_error(), HasSubstr("cannot open"));
  fs::create_directory(path_);
  EXPECT_THAT(reading_error(), HasSubstr("is a folder"));
}

TEST_F(DamagedCheckpoint, OlderOrNewerVersionIsRefusedByName) {
  for (const int64_t version : {0, 2, 1000000}) {
    set_number("version", version);
    EXPECT_THAT(reading_error(),
                HasSubstr(fmt::format("checkpoint version {}, this program reads 1", version)));
  }
}

TEST_F(DamagedCheckpoint, FletcherChecksumGuardsEachChunk) {
  const size_t position = position_of_r1();
  ASSERT_NE(position, std::string::npos);
  flip_byte(path_, position + 5, 0x20);
  seal_again();
  EXPECT_THAT(reading_error(), HasSubstr("/R1: damaged (its numbers cannot be read)"));
}

TEST_F(DamagedCheckpoint, DigestGuardsEachDataset) {
  edit([](hid_t file) {
    for (const char* name : {"R2", "momentum/R1"}) {
      const hid_t dataset = H5Dopen2(file, name, H5P_DEFAULT);
      float values[64] = {};
      EXPECT_GE(H5Dread(dataset, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values), 0);
      std::swap(values[0], values[1]);
      EXPECT_GE(H5Dwrite(dataset, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values), 0);
      H5Dclose(dataset);
    }
  });
  EXPECT_THAT(reading_error(), HasSubstr("/R2: damaged: its SHA-256"));
}

TEST_F(DamagedCheckpoint, DigestGuardsTheAttributes) {
  const char* const kMessage = "damaged: the SHA-256 of its attributes";
  set_number("seed", 8);
  EXPECT_THAT(reading_error(), HasSubstr(kMessage));
  set_number("seed", -7);
  EXPECT_TRUE(same(read_checkpoint(path_), checkpoint_));
  edit([](hid_t file) { EXPECT_GE(H5Adelete_by_name(file, "versions", "spq", H5P_DEFAULT), 0); });
  EXPECT_THAT(reading_error(), HasSubstr(kMessage));
}

TEST_F(DamagedCheckpoint, SizesAreBoundedBeforeAnythingIsAllocated) {
  set_number("hidden_size", 1 << 20);
  EXPECT_THAT(reading_error(), HasSubstr("do not fit into a file of"));
  set_number("hidden_size", INT64_MAX);
  EXPECT_THAT(reading_error(), HasSubstr("'hidden_size' is 9223372036854775807"));
  set_number("hidden_size", 4);
  EXPECT_THAT(reading_error(), HasSubstr("/R1: shape [8, 8], expected [4, 4]"));
}

TEST_F(DamagedCheckpoint, MissingMembersAreNamed) {
  edit([](hid_t file) { EXPECT_GE(H5Adelete(file, "seed"), 0); });
  EXPECT_THAT(reading_error(), HasSubstr("no attribute 'seed'"));
  edit([](hid_t file) { EXPECT_GE(H5Ldelete(file, "versions", H5P_DEFAULT), 0); });
  EXPECT_THAT(reading_error(), HasSubstr("no group 'versions'"));
  edit([](hid_t file) { EXPECT_GE(H5Ldelete(file, "momentum/R2", H5P_DEFAULT), 0); });
  EXPECT_THAT(reading_error(), HasSubstr("no dataset 'R2'"));
  edit([](hid_t file) { EXPECT_GE(H5Ldelete(file, "R1", H5P_DEFAULT), 0); });
  EXPECT_THAT(reading_error(), HasSubstr("no dataset 'R1'"));
}

TEST_F(DamagedCheckpoint, RotationsThatAreNotOrthogonalAreRefused) {
  Checkpoint bent = example_checkpoint();
  bent.rotations.r2[1] = bent.rotations.r2[1].mul(1.01);
  write_checkpoint(path_, bent);
  EXPECT_THAT(reading_error(), HasSubstr("R2 of layer 1 is not orthogonal"));
}

}  // namespace
}  // namespace spq::data
