// Torch archives that are well-formed zip files but not what they should be.
#include "data/rbin.h"

#include <ATen/core/Dict.h>
#include <ATen/core/ivalue.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/ones.h>
#include <caffe2/serialize/inline_container.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/csrc/jit/serialization/pickler.h>

#include "support.h"

namespace spq::data {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

class TorchArchive : public ::testing::Test {
 protected:
  /// Writes `value`, with `data` for its only tensor.
  void write(const c10::IValue& value, const std::string& data,
             const std::string& byte_order = "little") const {
    std::vector<char> bytes;
    torch::jit::Pickler pickler(
        [&](const char* from, size_t size) { bytes.insert(bytes.end(), from, from + size); }, nullptr,
        nullptr, nullptr, nullptr, /*tag_aggregates=*/false);
    pickler.protocol();
    pickler.pushIValue(value);
    pickler.stop();
    caffe2::serialize::PyTorchStreamWriter archive(path_.string());
    if (!data.empty()) archive.writeRecord("data/0", data.data(), data.size());
    archive.writeRecord("data.pkl", bytes.data(), bytes.size());
    archive.writeRecord("byteorder", byte_order.data(), byte_order.size());
    archive.writeEndOfFile();
  }
  std::string reading_error() const {
    const std::string error = error_of([&] { read_tensor_table(path_); });
    EXPECT_THAT(error, StartsWith(path_.string() + ":"));
    return error;
  }
  static c10::IValue table_of(const at::Tensor& tensor) {
    c10::Dict<std::string, at::Tensor> table;
    table.insert("R1", tensor);
    return table;
  }
  const TempDir folder_;
  const std::filesystem::path path_ = folder_.path() / "R.bin";
  const at::Tensor ones_ = at::ones({4, 4});
  const std::string data_{static_cast<const char*>(ones_.const_data_ptr()), ones_.nbytes()};
};

TEST_F(TorchArchive, WithMatchingDataIsRead) {
  write(table_of(ones_), data_);
  EXPECT_TRUE(at::equal(read_tensor_table(path_).at("R1"), ones_));
}

TEST_F(TorchArchive, WithLessDataThanItsTensorClaimsIsRefused) {
  write(table_of(ones_), data_.substr(4));
  EXPECT_THAT(reading_error(), HasSubstr("'R1' does not fit the data stored for it"));
}

TEST_F(TorchArchive, WithoutTheDataOfItsTensorIsRefused) {
  write(table_of(ones_), "");
  EXPECT_THAT(reading_error(), HasSubstr("cannot be read as a torch archive of tensors"));
}

TEST_F(TorchArchive, OfAnotherByteOrderIsRefused) {
  write(table_of(ones_), data_, "big");
  EXPECT_THAT(reading_error(), HasSubstr("byte order is 'big', expected 'little'"));
}

TEST_F(TorchArchive, ThatHoldsNoTableOfTensorsIsRefused) {
  write(c10::IValue(ones_), data_);
  EXPECT_THAT(reading_error(), HasSubstr("holds a Tensor, expected a dict of tensors"));
  c10::Dict<std::string, int64_t> numbers;
  numbers.insert("R1", 3);
  write(numbers, "");
  EXPECT_THAT(reading_error(), HasSubstr("'R1' is a Int, expected a tensor"));
  c10::Dict<int64_t, at::Tensor> by_number;
  by_number.insert(1, ones_);
  write(by_number, data_);
  EXPECT_THAT(reading_error(), HasSubstr("a key is not a string"));
}

}  // namespace
}  // namespace spq::data
