#include "safetensors_files.h"

#include <fmt/format.h>

#include <cstring>

#include "data/shape_text.h"
#include "support.h"

namespace spq::data {
namespace {

std::string dtype_name(const at::Tensor& tensor) {
  if (tensor.scalar_type() == at::kFloat) return "F32";
  return tensor.scalar_type() == at::kHalf ? "F16" : "BF16";
}

}  // namespace

std::string safetensors_bytes(const std::string& header, const std::string& data) {
  const uint64_t length = header.size();
  std::string bytes(sizeof(length), '\0');
  std::memcpy(bytes.data(), &length, sizeof(length));
  return bytes + header + data;
}

std::string entry_json(const std::string& name, const std::string& dtype, const std::string& shape,
                       size_t begin, size_t end) {
  return fmt::format(R"("{}":{{"dtype":"{}","shape":{},"data_offsets":[{},{}]}})", name, dtype, shape, begin,
                     end);
}

void write_safetensors(const std::filesystem::path& path,
                       const std::vector<std::pair<std::string, at::Tensor>>& tensors, size_t pad) {
  std::string header = R"({"__metadata__":{"format":"pt"})";
  std::string data(pad, '\x5a');
  if (pad > 0) header.append(",").append(entry_json("pad", "U8", fmt::format("[{}]", pad), 0, pad));
  for (const auto& [name, tensor] : tensors) {
    const at::Tensor values = tensor.contiguous();
    const size_t end = data.size() + values.nbytes();
    header.append(",").append(
        entry_json(name, dtype_name(values), shape_text(values.sizes()), data.size(), end));
    data.append(static_cast<const char*>(values.const_data_ptr()), values.nbytes());
  }
  write_text(path, safetensors_bytes(header + "}", data));
}

}  // namespace spq::data
