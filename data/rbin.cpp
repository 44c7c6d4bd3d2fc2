#include "data/rbin.h"

#include <ATen/core/Dict.h>
#include <ATen/core/ivalue.h>
#include <caffe2/serialize/inline_container.h>
#include <torch/csrc/jit/serialization/pickler.h>
#include <torch/csrc/jit/serialization/unpickler.h>

#include <algorithm>
#include <cstring>
#include <string_view>

#include "core/error.h"
#include "data/zip_check.h"

namespace spq::data {
namespace {

using RecordSizes = std::map<const void*, size_t>;  // where a record was read to -> its bytes

/// First line of a LibTorch error, without the backtrace that what() carries.
std::string reason(const std::exception& error) {
  const auto* torch_error = dynamic_cast<const c10::Error*>(&error);
  const std::string_view text = torch_error != nullptr ? torch_error->msg().c_str() : error.what();
  return std::string(text.substr(0, text.find('\n')));
}

/// Old files have no such record; they are little-endian.
void check_byte_order(caffe2::serialize::PyTorchStreamReader& archive, const std::string& path) {
  if (!archive.hasRecord("byteorder")) return;
  const auto [data, size] = archive.getRecord("byteorder");
  const std::string order(static_cast<const char*>(data.get()), size);
  check(order == "little", "{}: byte order is '{}', expected 'little'", path, order);
}

c10::IValue unpickle(caffe2::serialize::PyTorchStreamReader& archive, RecordSizes& sizes) {
  const auto [data, size] = archive.getRecord("data.pkl");
  const char* bytes = static_cast<const char*>(data.get());
  size_t position = 0;
  const auto read = [&, size = size](char* to, size_t wanted) {
    const size_t count = std::min(wanted, size - position);
    std::memcpy(to, bytes + position, count);
    position += count;
    return count;
  };
  const auto read_record = [&](const std::string& name) {
    auto [record, record_size] = archive.getRecord("data/" + name);
    sizes[record.get()] = record_size;
    return std::move(record);
  };
  // Without resolvers the unpickler knows tensors, dicts and numbers, and refuses every other class.
  torch::jit::Unpickler unpickler(read, nullptr, nullptr, read_record, at::Device(at::kCPU));
  return unpickler.parse_ivalue();
}

/// The unpickler believes the sizes in the pickle: a tensor may claim more bytes than its record has.
bool lies_in_record(const at::Tensor& tensor, const RecordSizes& sizes) {
  if (!tensor.device().is_cpu() || tensor.layout() != at::kStrided || tensor.is_quantized()) return false;
  if (tensor.numel() == 0) return true;
  const auto record = sizes.find(tensor.storage().data());
  if (record == sizes.end() || tensor.storage_offset() < 0) return false;
  size_t last = static_cast<size_t>(tensor.storage_offset());
  for (int64_t i = 0; i < tensor.dim(); ++i) {
    size_t reach = 0;
    if (tensor.size(i) < 0 || tensor.stride(i) < 0) return false;
    if (__builtin_mul_overflow(static_cast<size_t>(tensor.size(i) - 1), static_cast<size_t>(tensor.stride(i)),
                               &reach) ||
        __builtin_add_overflow(last, reach, &last)) {
      return false;
    }
  }
  return last < record->second / tensor.element_size();
}

TensorTable to_table(const c10::IValue& value, const RecordSizes& sizes, const std::string& path) {
  check(value.isGenericDict(), "{}: holds a {}, expected a dict of tensors", path, value.tagKind());
  TensorTable table;
  for (const auto& entry : value.toGenericDict()) {
    check(entry.key().isString(), "{}: a key is not a string, expected a dict of tensors", path);
    const std::string& key = entry.key().toStringRef();
    check(entry.value().isTensor(), "{}: '{}' is a {}, expected a tensor", path, key,
          entry.value().tagKind());
    const at::Tensor tensor = entry.value().toTensor();
    check(tensor.defined() && lies_in_record(tensor, sizes), "{}: '{}' does not fit the data stored for it",
          path, key);
    table.emplace(key, tensor.clone());
  }
  return table;
}

std::vector<char> pickle(const c10::Dict<std::string, at::Tensor>& table, std::vector<at::Tensor>& tensors) {
  std::vector<char> bytes;
  // Untagged: type tags are a LibTorch extension that torch.load(weights_only=True) refuses.
  torch::jit::Pickler pickler(
      [&](const char* data, size_t size) { bytes.insert(bytes.end(), data, data + size); }, nullptr, nullptr,
      nullptr, nullptr, /*tag_aggregates=*/false);
  pickler.protocol();
  pickler.pushIValue(c10::IValue(table));
  pickler.stop();
  tensors = pickler.tensorData();
  return bytes;
}

/// The archive is built in memory: the destructor of LibTorch's writer ends the process when a write has
/// failed.
std::string build_archive(const c10::Dict<std::string, at::Tensor>& table) {
  std::vector<at::Tensor> tensors;
  const std::vector<char> bytes = pickle(table, tensors);
  std::string content;
  const auto write = [&](const void* data, size_t size) {
    content.append(static_cast<const char*>(data), size);
    return size;
  };
  caffe2::serialize::PyTorchStreamWriter archive(write);
  for (size_t i = 0; i < tensors.size(); ++i) {
    archive.writeRecord("data/" + std::to_string(i), tensors[i].const_data_ptr(), tensors[i].nbytes());
  }
  archive.writeRecord("data.pkl", bytes.data(), bytes.size());
  archive.writeRecord("byteorder", "little", 6);
  archive.writeEndOfFile();
  return content;
}

}  // namespace

TensorTable read_tensor_table(const std::filesystem::path& path) {
  check_zip_checksums(path);
  try {
    caffe2::serialize::PyTorchStreamReader archive(path.string());
    check_byte_order(archive, path.string());
    RecordSizes sizes;
    const c10::IValue value = unpickle(archive, sizes);
    return to_table(value, sizes, path.string());
  } catch (const Error&) {
    throw;
  } catch (const std::exception& error) {
    fail("{}: cannot be read as a torch archive of tensors: {}", path.string(), reason(error));
  }
}

std::string tensor_table_bytes(const TensorTable& table, const std::string& place) {
  c10::Dict<std::string, at::Tensor> dict;
  // Cloned: a view would drag its whole storage into the file.
  for (const auto& [key, tensor] : table) {
    dict.insert(key, tensor.detach().to(at::kCPU).contiguous().clone());
  }
  try {
    return build_archive(dict);
  } catch (const std::exception& error) {
    fail("{}: cannot build the torch archive: {}", place, reason(error));
  }
}

}  // namespace spq::data
