// Numbers to compare with, from tests/golden and tests/fixtures.
#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <map>
#include <string>

namespace spq::test {

using TensorMap = std::map<std::string, at::Tensor>;

/// Every tensor of a safetensors file.
TensorMap read_tensors(const std::filesystem::path& path);

/// tests/golden/<name>.safetensors, tests/fixtures/<name>.
TensorMap golden(const std::string& name);
std::filesystem::path fixture(const std::string& name);

/// ||a - b|| / ||b|| (Frobenius, in double).
double relative_error(const at::Tensor& a, const at::Tensor& b);
/// max |a - b|.
double max_error(const at::Tensor& a, const at::Tensor& b);
/// A - A^T.
at::Tensor skew(const at::Tensor& a);

}  // namespace spq::test
