#include "data/safetensors_writer.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "data/model_files.h"
#include "data/safetensors.h"
#include "support.h"

namespace spq::data {
namespace {

using ::testing::HasSubstr;

at::Tensor counting(std::vector<int64_t> shape, at::ScalarType dtype) {
  int64_t count = 1;
  for (const int64_t size : shape) count *= size;
  return at::arange(count, at::kFloat).sub(3).view(shape).to(dtype);
}

TEST(SafetensorsWriter, ModelFilesReadsBackWhatWasWrittenInAnyOrder) {
  const TempDir folder;
  const auto path = folder.path() / "model.safetensors";
  const at::Tensor wide = counting({3, 5}, at::kFloat);
  const at::Tensor narrow = counting({7}, at::kBFloat16);
  const at::Tensor half = counting({2, 3}, at::kHalf);
  SafetensorsWriter writer(
      path, {{"narrow", at::kBFloat16, {7}}, {"wide", at::kFloat, {5, 3}}, {"half", at::kHalf, {2, 3}}});
  writer.write("half", half);
  writer.write("wide", wide.t());  // not contiguous
  EXPECT_FALSE(writer.complete());
  writer.write("narrow", narrow);
  EXPECT_TRUE(writer.complete());
  EXPECT_FALSE(std::filesystem::exists(path)) << "a file is there whole or not at all";
  writer.finish();
  const ModelFiles files(folder.path());
  EXPECT_EQ(files.names(), (std::vector<std::string>{"half", "narrow", "wide"}));
  EXPECT_TRUE(files.read("wide").equal(wide.t()));
  EXPECT_TRUE(files.read("narrow").equal(narrow));
  EXPECT_TRUE(files.read("half").equal(half));
  EXPECT_EQ(count_files(folder.path()), 1u);
}

TEST(SafetensorsWriter, LaysTensorsOutBySizeThenNameBehindAPaddedHeader) {
  const TempDir folder;
  const auto path = folder.path() / "a.safetensors";
  SafetensorsWriter writer(path, {{"b8", at::kByte, {3}},
                                  {"z16", at::kHalf, {1}},
                                  {"a16", at::kBFloat16, {3}},
                                  {"f32", at::kFloat, {2}},
                                  {"i64", at::kLong, {1}},
                                  {"none", at::kFloat, {0, 4}},
                                  {"scalar", at::kInt, {}}});
  writer.write("b8", at::full({3}, 1, at::kByte));
  writer.write("z16", at::full({1}, 2, at::kHalf));
  writer.write("a16", at::full({3}, 3, at::kBFloat16));
  writer.write("f32", at::full({2}, 4, at::kFloat));
  writer.write("i64", at::full({1}, 5, at::kLong));
  writer.write("none", at::zeros({0, 4}, at::kFloat));
  writer.write("scalar", at::full({}, 6, at::kInt));
  writer.finish();
  const std::string bytes = read_text(path);
  uint64_t length = 0;
  std::memcpy(&length, bytes.data(), sizeof(length));
  EXPECT_EQ(length % 8, 0u);
  EXPECT_THAT(bytes.substr(8, length), HasSubstr(R"({"__metadata__":{"format":"pt"},)"));
  const SafetensorsFile file(path);
  const auto begin = [&](const char* name) { return file.entries().at(name).begin - 8 - length; };
  EXPECT_EQ(begin("i64"), 0u);
  EXPECT_EQ(begin("f32"), 8u);
  EXPECT_EQ(begin("none"), 16u);
  EXPECT_EQ(begin("scalar"), 16u);
  EXPECT_EQ(begin("a16"), 20u);
  EXPECT_EQ(begin("z16"), 26u);
  EXPECT_EQ(begin("b8"), 28u);
  EXPECT_EQ(file.entries().at("scalar").shape, std::vector<int64_t>{});
  int32_t scalar = 0;
  std::memcpy(&scalar, bytes.data() + 8 + length + begin("scalar"), sizeof(scalar));
  EXPECT_EQ(scalar, 6);
}

TEST(SafetensorsWriter, RefusesTensorsThatWereNotAnnouncedLikeThis) {
  const TempDir folder;
  const auto path = folder.path() / "a.safetensors";
  SafetensorsWriter writer(path, {{"a", at::kFloat, {2}}, {"b", at::kFloat, {2}}});
  const auto error = [&](const char* name, const at::Tensor& t) {
    return error_of([&] { writer.write(name, t); });
  };
  EXPECT_EQ(error("c", at::ones({2})), path.string() + ": tensor 'c' was not announced");
  EXPECT_EQ(error("a", at::ones({3})), path.string() + ": tensor 'a' is Float [3], announced as Float [2]");
  EXPECT_THAT(error("a", at::ones({2}, at::kHalf)), HasSubstr("is Half [2], announced as Float [2]"));
  EXPECT_EQ(error("a", at::ones({2})), "");
  EXPECT_EQ(error("a", at::ones({2})), path.string() + ": tensor 'a' is written twice");
  EXPECT_EQ(error_of([&] { writer.finish(); }), path.string() + ": tensor 'b' was never written");
}

TEST(SafetensorsWriter, RefusesListsThatNoFileCanHold) {
  const TempDir folder;
  const auto path = folder.path() / "a.safetensors";
  const auto error = [&](const std::vector<TensorSpec>& tensors) {
    return error_of([&] { const SafetensorsWriter writer(path, tensors); });
  };
  EXPECT_EQ(error({{"a", at::kFloat, {2}}, {"a", at::kHalf, {1}}}),
            path.string() + ": tensor 'a' is given twice");
  EXPECT_THAT(error({{"a", at::kComplexFloat, {2}}}), HasSubstr("tensor 'a' has dtype ComplexFloat"));
  EXPECT_THAT(error({{"a", at::kFloat, {2, -1}}}), HasSubstr("tensor 'a' has shape [2, -1]"));
  EXPECT_THAT(error({{"__metadata__", at::kFloat, {1}}}), HasSubstr("cannot be named '__metadata__'"));
  EXPECT_EQ(count_files(folder.path()), 0u);
}

TEST(SafetensorsWriter, KeepsTheOldFileUntilTheNewOneIsFinished) {
  const TempDir folder;
  const auto path = folder.path() / "a.safetensors";
  write_text(path, "old");
  {
    SafetensorsWriter writer(path, {{"a", at::kFloat, {2}}});
    writer.write("a", at::ones({2}));
  }
  EXPECT_EQ(read_text(path), "old");
  EXPECT_EQ(count_files(folder.path()), 1u) << "the temporary file is removed";
}

TEST(SafetensorsWriterDeathTest, FailsAsOnAFullDiskAndLeavesNothing) {
  const TempDir folder;
  const auto path = folder.path() / "a.safetensors";
  const auto write = [&] {
    std::signal(SIGXFSZ, SIG_IGN);  // the write then fails instead
    const rlimit limit{4096, 4096};
    setrlimit(RLIMIT_FSIZE, &limit);
    const std::string error = error_of([&] {
      SafetensorsWriter writer(path, {{"a", at::kFloat, {4096}}});
      writer.write("a", at::ones({4096}));
    });
    std::fputs(error.c_str(), stderr);
    std::exit(3);
  };
  EXPECT_EXIT(write(), ::testing::ExitedWithCode(3), "a.safetensors: cannot write");
  EXPECT_EQ(count_files(folder.path()), 0u);
}

TEST(SafetensorsWriter, NamesTheFileWhenItsFolderIsMissing) {
  const TempDir folder;
  const auto path = folder.path() / "missing" / "a.safetensors";
  EXPECT_EQ(error_of([&] {
              const SafetensorsWriter writer(path, {{"a", at::kFloat, {2}}});
            }),
            path.string() + ": cannot write (No such file or directory)");
}

}  // namespace
}  // namespace spq::data
