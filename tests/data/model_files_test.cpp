#include "data/model_files.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "safetensors_files.h"
#include "support.h"

namespace spq::data {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kRows = 130;  // neither size is a multiple of the 64 x 64 tiles
constexpr int64_t kColumns = 77;

at::Tensor example_matrix(at::ScalarType type) {
  return at::arange(kRows * kColumns, at::TensorOptions(at::kFloat))
      .remainder(251)
      .view({kRows, kColumns})
      .to(type);
}

class ModelFilesRead : public ::testing::TestWithParam<at::ScalarType> {
 protected:
  ModelFilesRead() {
    write_safetensors(folder_.path() / "model.safetensors",
                      {{"m", matrix_}, {"v", matrix_.select(0, 1).contiguous()}}, 3);
  }
  const TempDir folder_;
  const at::Tensor matrix_ = example_matrix(GetParam());
};

TEST_P(ModelFilesRead, GivesWholeTensorsInTheFilesDtype) {
  const ModelFiles files(folder_.path());
  EXPECT_EQ(files.dtype("m"), GetParam());
  EXPECT_EQ(files.read("m").scalar_type(), GetParam());
  EXPECT_TRUE(at::equal(files.read("m"), matrix_));
  EXPECT_TRUE(at::equal(files.read("v"), matrix_.select(0, 1)));
}

TEST_P(ModelFilesRead, GivesTheSameRowsAsAWholeRead) {
  const ModelFiles files(folder_.path());
  for (const auto& [begin, end] : {std::pair(0, 1), {0, 130}, {63, 129}, {129, 130}, {5, 5}, {130, 130}}) {
    EXPECT_TRUE(at::equal(files.read_rows("m", begin, end), matrix_.slice(0, begin, end))) << begin;
  }
  EXPECT_TRUE(at::equal(files.read_rows("v", 7, 20), matrix_.select(0, 1).slice(0, 7, 20)));
}

TEST_P(ModelFilesRead, GivesTheSameColumnsAsAWholeRead) {
  const ModelFiles files(folder_.path());
  for (const auto& [begin, end] : {std::pair(0, 1), {0, 77}, {3, 70}, {64, 77}, {76, 77}, {9, 9}, {77, 77}}) {
    const at::Tensor part = files.read_columns_transposed("m", begin, end);
    EXPECT_TRUE(part.is_contiguous());
    EXPECT_TRUE(at::equal(part, matrix_.slice(1, begin, end).t())) << begin;
  }
}

INSTANTIATE_TEST_SUITE_P(EachDtype, ModelFilesRead, ::testing::Values(at::kFloat, at::kHalf, at::kBFloat16),
                         [](const auto& each) { return std::string(c10::toString(each.param)); });

class ModelFilesTest : public ::testing::Test {
 protected:
  ModelFilesTest() {
    write_safetensors(folder_.path() / "model.safetensors", {{"m", at::ones({2, 3})}, {"v", at::ones({3})}},
                      5);
  }
  std::string error(const std::function<void(const ModelFiles&)>& action) const {
    const ModelFiles files(folder_.path());
    return error_of([&] { action(files); });
  }
  const TempDir folder_;
};

TEST_F(ModelFilesTest, KnowsNamesAndShapes) {
  const ModelFiles files(folder_.path());
  EXPECT_EQ(files.names(), (std::vector<std::string>{"m", "pad", "v"}));
  EXPECT_TRUE(files.has("m"));
  EXPECT_FALSE(files.has("n"));
  EXPECT_EQ(files.shape("m"), (std::vector<int64_t>{2, 3}));
  files.expect_shape("m", {2, 3});
}

TEST_F(ModelFilesTest, StaysUsableAfterAMove) {
  ModelFiles files(folder_.path());
  const ModelFiles moved(std::move(files));
  EXPECT_TRUE(at::equal(moved.read("m"), at::ones({2, 3})));
}

TEST_F(ModelFilesTest, NamesTensorAndPlaceInErrors) {
  const std::string file = (folder_.path() / "model.safetensors").string();
  EXPECT_EQ(error([](const ModelFiles& f) { f.shape("x"); }),
            folder_.path().string() + ": no tensor 'x' in the model");
  EXPECT_EQ(error([](const ModelFiles& f) {
              f.expect_shape("m", {3, 2});
            }),
            file + ": tensor 'm' has shape [2, 3], expected [3, 2]");
  EXPECT_EQ(error([](const ModelFiles& f) { f.read("pad"); }),
            file + ": tensor 'pad' has dtype U8, expected F32, F16 or BF16");
  EXPECT_THAT(error([](const ModelFiles& f) { f.read_rows("m", 1, 3); }),
              HasSubstr("range [1, 3) is not inside"));
  EXPECT_THAT(error([](const ModelFiles& f) { f.read_rows("m", -1, 1); }), HasSubstr("range [-1, 1)"));
  EXPECT_THAT(error([](const ModelFiles& f) { f.read_columns_transposed("m", 2, 4); }), HasSubstr("[2, 4)"));
  EXPECT_THAT(error([](const ModelFiles& f) { f.read_columns_transposed("v", 0, 1); }),
              HasSubstr("tensor 'v' has shape [3], expected a matrix"));
}

/// Mapped file pages in this process's memory, in MiB.
double resident_file_mib() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("RssFile:")) return std::stod(line.substr(8)) / 1024;
  }
  ADD_FAILURE() << "no RssFile in /proc/self/status";
  return 0;
}

TEST(ModelFilesMemory, ReadingLeavesNoMappedPagesBehind) {
  const TempDir folder;
  write_safetensors(folder.path() / "model.safetensors", {{"m", at::full({4096, 2048}, 2.0)}});  // 32 MiB
  const ModelFiles files(folder.path());
  const double before = resident_file_mib();
  const at::Tensor rows = files.read("m");
  const at::Tensor columns = files.read_columns_transposed("m", 1024, 2048);
  EXPECT_LT(resident_file_mib() - before, 12);
  EXPECT_TRUE(at::equal(rows.slice(1, 1024, 2048).t(), columns));
}

}  // namespace
}  // namespace spq::data
