// safetensors files for the tests, right and wrong ones.
#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace spq::data {

/// Length field, header and data, whatever they are.
std::string safetensors_bytes(const std::string& header, const std::string& data);

/// One entry of a header.
std::string entry_json(const std::string& name, const std::string& dtype, const std::string& shape,
                       size_t begin, size_t end);

/// A correct file. `pad` bytes of a first tensor named "pad" shift the others off their natural alignment.
void write_safetensors(const std::filesystem::path& path,
                       const std::vector<std::pair<std::string, at::Tensor>>& tensors, size_t pad = 0);

}  // namespace spq::data
