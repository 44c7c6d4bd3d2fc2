#include "data/rotation_file.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/eye.h>
#include <ATen/ops/outer.h>
#include <ATen/ops/tensor.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "data/rbin.h"
#include "examples.h"
#include "support.h"

namespace spq::data {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class RotationFileTest : public ::testing::Test {
 protected:
  std::string reading_error(int64_t hidden_size = 8, int64_t num_layers = 2, int64_t head_dim = 4) const {
    const std::string error = error_of([&] { read_rotations(path_, hidden_size, num_layers, head_dim); });
    EXPECT_THAT(error, StartsWith(path_.string() + ":"));
    return error;
  }
  std::string table_error(const TensorTable& table) const {
    write_text(path_, tensor_table_bytes(table, path_.string()));
    return reading_error();
  }
  const TempDir folder_;
  const std::filesystem::path path_ = folder_.path() / "R.bin";
  const Rotations rotations_ = random_rotations(8, 2, 4, 5);
  TensorTable table_{{"R1", rotations_.r1},
                     {"model.layers.0.self_attn.R2", rotations_.r2[0]},
                     {"model.layers.1.self_attn.R2", rotations_.r2[1]}};
};

TEST_F(RotationFileTest, RbinRoundTripIsExact) {
  write_rbin(path_, rotations_);
  EXPECT_TRUE(same_bits(read_rotations(path_, 8, 2, 4), rotations_));
  EXPECT_EQ(count_files(folder_.path()), 1u);
}

TEST_F(RotationFileTest, CheckpointsAreReadToo) {
  const Checkpoint checkpoint = example_checkpoint();
  write_checkpoint(path_, checkpoint);
  EXPECT_TRUE(same_bits(read_rotations(path_, 8, 2, 4), checkpoint.rotations));
  EXPECT_THAT(reading_error(16), HasSubstr("R1 has shape [8, 8], expected [16, 16]"));
}

TEST_F(RotationFileTest, OtherFloatingTypesBecomeFp32) {
  table_["R1"] = rotations_.r1.to(at::kDouble);
  write_text(path_, tensor_table_bytes(table_, path_.string()));
  const Rotations read = read_rotations(path_, 8, 2, 4);
  EXPECT_EQ(read.r1.scalar_type(), at::kFloat);
  EXPECT_TRUE(same_bits(read, rotations_));
}

TEST_F(RotationFileTest, ModelOfAnotherShapeIsRefused) {
  write_rbin(path_, rotations_);
  EXPECT_THAT(reading_error(16, 2, 4), HasSubstr("R1 has shape [8, 8], expected [16, 16]"));
  EXPECT_THAT(reading_error(8, 2, 8), HasSubstr("R2 of layer 0 has shape [4, 4], expected [8, 8]"));
  EXPECT_THAT(reading_error(8, 3, 4), HasSubstr("no tensor 'model.layers.2.self_attn.R2'"));
  EXPECT_THAT(reading_error(8, 1, 4), HasSubstr("unexpected tensor 'model.layers.1.self_attn.R2'"));
}

TEST_F(RotationFileTest, BadMatricesAreRefused) {
  TensorTable table = table_;
  table["R1"] = rotations_.r1.mul(1.01);
  EXPECT_THAT(table_error(table), HasSubstr("R1 is not orthogonal: max |R^T R - I| is 0.0201"));
  table = table_;
  table["model.layers.1.self_attn.R2"] = rotations_.r2[1].clone();
  table["model.layers.1.self_attn.R2"].select(0, 1).fill_(std::numeric_limits<float>::quiet_NaN());
  EXPECT_THAT(table_error(table), HasSubstr("R2 of layer 1 holds numbers that are not finite"));
  table = table_;
  table["R1"] = at::eye(8, at::TensorOptions(at::kLong));
  EXPECT_THAT(table_error(table), HasSubstr("'R1' holds Long, expected floating-point numbers"));
  table = table_;
  table.erase("R1");
  EXPECT_THAT(table_error(table), HasSubstr("no tensor 'R1'"));
}

TEST_F(RotationFileTest, OtherFilesAreRefused) {
  EXPECT_THAT(reading_error(), HasSubstr("cannot open"));
  write_text(path_, "");
  EXPECT_THAT(reading_error(), HasSubstr("neither a spq checkpoint nor an R.bin"));
  write_text(path_, "PK\x03\x04 but no zip archive");
  EXPECT_THAT(reading_error(), HasSubstr("truncated or not a zip archive"));
  EXPECT_THAT(error_of([&] { read_rotations(folder_.path(), 8, 2, 4); }), HasSubstr("is a folder"));
}

TEST_F(RotationFileTest, DamagedRbinGivesAnErrorOrTheSameRotations) {
  write_rbin(path_, rotations_);
  const size_t size = std::filesystem::file_size(path_);
  size_t refused = 0;
  for (size_t position = 0; position < size; position += 7) {
    flip_byte(path_, position, 0x10);
    const std::string error = error_of(
        [&] { EXPECT_TRUE(same_bits(read_rotations(path_, 8, 2, 4), rotations_)) << "byte " << position; });
    if (!error.empty()) ++refused;
    flip_byte(path_, position, 0x10);
  }
  EXPECT_GT(refused, 20u);
}

TEST_F(RotationFileTest, RbinCutShortIsRefused) {
  write_rbin(path_, rotations_);
  const size_t size = std::filesystem::file_size(path_);
  for (const size_t left : {size - 1, size / 2, size_t{100}}) {
    std::filesystem::resize_file(path_, left);
    reading_error();
  }
}

TEST_F(RotationFileTest, UnwritableRbinIsNamed) {
  const auto missing = folder_.path() / "missing" / "R.bin";
  EXPECT_THAT(error_of([&] { write_rbin(missing, rotations_); }),
              HasSubstr(missing.string() + ": cannot write"));
}

at::Tensor householder(int64_t size) {
  const at::Tensor v = at::arange(1, size + 1, at::TensorOptions(at::kDouble));
  return at::eye(size, at::TensorOptions(at::kDouble))
      .sub(at::outer(v, v).mul(2).div(v.dot(v)))
      .to(at::kFloat);
}

TEST(PythonRbin, IsReadWhateverItsDtypesAndDevice) {
  const Rotations read = read_rotations(source_folder() / "python_R.bin", 8, 2, 4);
  EXPECT_TRUE(read.r1.allclose(householder(8), 0, 1e-7));
  ASSERT_EQ(read.r2.size(), 2u);
  EXPECT_TRUE(read.r2[0].allclose(householder(4), 0, 1e-7));
  const at::Tensor hadamard =
      at::tensor({1.0, 1.0, 1.0, 1.0, 1.0, -1.0, 1.0, -1.0, 1.0, 1.0, -1.0, -1.0, 1.0, -1.0, -1.0, 1.0})
          .to(at::kFloat)
          .view({4, 4});
  EXPECT_TRUE(at::equal(read.r2[1], hadamard.mul(0.5)));
}

}  // namespace
}  // namespace spq::data
