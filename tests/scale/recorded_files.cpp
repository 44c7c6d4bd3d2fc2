// Takes the place of data/model_files.cpp: the linker takes no object from a library whose symbols a program
// defines itself. So the loading code under test is the real one.
#include "tests/scale/recorded_files.h"

#include <ATen/ops/ones.h>

#include <cstring>
#include <mutex>
#include <utility>

#include "core/error.h"
#include "data/model_files.h"
#include "data/safetensors.h"

namespace spq {
namespace {

constexpr size_t kElementBytes = 2;  // bf16

struct Recorded {
  std::mutex mutex;  // threads share the reading of a tensor
  std::vector<test::RecordedRead> reads;
};

Recorded& recorded() {
  static Recorded all;
  return all;
}

void record(test::RecordedRead read) {
  const std::lock_guard lock(recorded().mutex);
  recorded().reads.push_back(std::move(read));
}

}  // namespace

std::vector<test::RecordedRead> test::take_reads() {
  const std::lock_guard lock(recorded().mutex);
  return std::exchange(recorded().reads, {});
}

namespace data {

ModelFiles::ModelFiles(const std::filesystem::path& model_dir) : model_dir_(model_dir) {
  for (const auto& entry : std::filesystem::directory_iterator(model_dir)) {
    if (entry.path().extension() != ".safetensors") continue;
    files_.push_back(std::make_unique<SafetensorsFile>(entry.path()));
    for (const auto& [name, tensor] : files_.back()->entries()) where_.emplace(name, files_.back().get());
  }
}

ModelFiles::~ModelFiles() = default;
ModelFiles::ModelFiles(ModelFiles&&) noexcept = default;

bool ModelFiles::has(const std::string& name) const {
  return where_.contains(name);
}

std::vector<std::string> ModelFiles::names() const {
  std::vector<std::string> names;
  for (const auto& [name, file] : where_) names.push_back(name);
  return names;
}

const std::filesystem::path& ModelFiles::file(const std::string& name) const {
  return where_.at(name)->path();
}

std::vector<int64_t> ModelFiles::shape(const std::string& name) const {
  return where_.at(name)->entries().at(name).shape;
}

at::ScalarType ModelFiles::dtype(const std::string& name) const {
  SPQ_ASSERT(where_.at(name)->entries().at(name).dtype == "BF16");
  return at::kBFloat16;
}

void ModelFiles::expect_shape(const std::string& name, const std::vector<int64_t>& expected) const {
  SPQ_ASSERT(shape(name) == expected);
}

void ModelFiles::copy_rows(const std::string& name, int64_t begin, int64_t end, void* to) const {
  record({name, false, begin, end});
  std::memset(to, 0, static_cast<size_t>((end - begin) * shape(name).at(1)) * kElementBytes);
}

void ModelFiles::copy_columns_transposed(const std::string& name, int64_t begin, int64_t end,
                                         void* to) const {
  record({name, true, begin, end});
  std::memset(to, 0, static_cast<size_t>((end - begin) * shape(name).at(0)) * kElementBytes);
}

at::Tensor ModelFiles::read(const std::string& name) const {
  const std::vector<int64_t> sizes = shape(name);
  SPQ_ASSERT(sizes.size() == 1);  // the loading code reads matrices in parts
  record({name, false, 0, sizes[0]});
  return at::ones(sizes, at::kBFloat16);
}

}  // namespace data
}  // namespace spq
