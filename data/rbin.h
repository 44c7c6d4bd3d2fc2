// R.bin as a plain table of tensors: the zip archive that Python's torch.save writes for a dict.
#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <map>
#include <string>

namespace spq::data {

using TensorTable = std::map<std::string, at::Tensor>;

/// Reads a dict of string -> tensor, onto the CPU whatever device it was saved from. Runs none of the file's
/// code. Error naming `path` on anything else in the file, and on damage.
TensorTable read_tensor_table(const std::filesystem::path& path);

/// Writes a dict that torch.load(weights_only=True) reads. `path` is named in errors, `file` is written.
void write_tensor_table(const std::filesystem::path& file, const TensorTable& table,
                        const std::filesystem::path& path);

}  // namespace spq::data
