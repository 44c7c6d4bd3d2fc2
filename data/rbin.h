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

/// The bytes of a file that holds a dict, which torch.load(weights_only=True) reads. `place` is named in
/// errors.
std::string tensor_table_bytes(const TensorTable& table, const std::string& place);

}  // namespace spq::data
