#include "tests/support/golden.h"

#include <ATen/ops/empty.h>

#include <cstring>

#include "core/error.h"
#include "data/safetensors.h"

namespace spq::test {
namespace {

at::ScalarType scalar_type(const std::string& dtype) {
  static const std::map<std::string, at::ScalarType> types = {
      {"F64", at::kDouble}, {"F32", at::kFloat}, {"F16", at::kHalf},  {"BF16", at::kBFloat16},
      {"I64", at::kLong},   {"I32", at::kInt},   {"I16", at::kShort}, {"I8", at::kChar}};
  return types.at(dtype);
}

}  // namespace

TensorMap read_tensors(const std::filesystem::path& path) {
  const data::SafetensorsFile file(path);
  TensorMap tensors;
  for (const auto& [name, entry] : file.entries()) {
    at::Tensor t = at::empty(entry.shape, scalar_type(entry.dtype));
    std::memcpy(t.data_ptr(), file.bytes().data() + entry.begin, entry.end - entry.begin);
    tensors[name] = t;
  }
  return tensors;
}

TensorMap golden(const std::string& name) {
  return read_tensors(std::filesystem::path(SPQ_SOURCE_DIR) / "tests/golden" / (name + ".safetensors"));
}

std::filesystem::path fixture(const std::string& name) {
  return std::filesystem::path(SPQ_SOURCE_DIR) / "tests/fixtures" / name;
}

double relative_error(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor expected = b.to(at::kDouble);
  return a.to(at::kDouble).sub(expected).norm().item<double>() / expected.norm().item<double>();
}

double max_error(const at::Tensor& a, const at::Tensor& b) {
  return a.to(at::kDouble).sub(b.to(at::kDouble)).abs().max().item<double>();
}

at::Tensor skew(const at::Tensor& a) {
  return a.sub(a.t());
}

}  // namespace spq::test
