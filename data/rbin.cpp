#include "data/rbin.h"

#include <ATen/core/Dict.h>
#include <ATen/core/ivalue.h>
#include <ATen/ops/empty.h>
#include <caffe2/serialize/inline_container.h>
#include <torch/csrc/jit/serialization/pickler.h>

#include <cstring>
#include <optional>
#include <string_view>

#include "core/error.h"
#include "data/pickle_reader.h"
#include "data/shown_text.h"
#include "data/zip_archive.h"

namespace spq::data {
namespace {

/// First line of a LibTorch error, without the backtrace that what() carries.
std::string reason(const std::exception& error) {
  const auto* torch_error = dynamic_cast<const c10::Error*>(&error);
  const std::string_view text = torch_error != nullptr ? torch_error->msg().c_str() : error.what();
  return std::string(text.substr(0, text.find('\n')));
}

/// An archive that torch.save wrote: all its entries lie in one folder, of any name.
class Records {
 public:
  explicit Records(const std::filesystem::path& path) : archive_(path), place_(path.string()) {
    constexpr std::string_view kProgram = "data.pkl";
    for (const auto& [name, content] : archive_.entries()) {
      if (!name.ends_with("/data.pkl")) continue;
      check(folder_.empty(), "{}: not a torch archive: two entries are named data.pkl", place_);
      folder_ = name.substr(0, name.size() - kProgram.size());
    }
    check(!folder_.empty(), "{}: not a torch archive: no entry is named data.pkl", place_);
  }

  size_t file_size() const { return archive_.size(); }
  /// Nothing when there is no such record.
  std::optional<std::string_view> find(const std::string& name) const {
    const auto entry = archive_.entries().find(folder_ + name);
    if (entry == archive_.entries().end()) return std::nullopt;
    return std::string_view(reinterpret_cast<const char*>(entry->second.data()), entry->second.size());
  }

 private:
  ZipArchive archive_;
  std::string place_;
  std::string folder_;  // with the slash
};

/// Old files have no such record; they are little-endian.
void check_byte_order(const Records& records, const std::string& path) {
  const std::string_view order = records.find("byteorder").value_or("little");
  check(order == "little", "{}: byte order is '{}', expected 'little'", path, shown(order));
}

at::ScalarType storage_dtype(const std::string& type, const std::string& place) {
  static constexpr std::pair<const char*, at::ScalarType> kTypes[] = {
      {"DoubleStorage", at::kDouble},     {"FloatStorage", at::kFloat}, {"HalfStorage", at::kHalf},
      {"BFloat16Storage", at::kBFloat16}, {"LongStorage", at::kLong},   {"IntStorage", at::kInt},
      {"ShortStorage", at::kShort},       {"CharStorage", at::kChar},   {"ByteStorage", at::kByte}};
  for (const auto& [name, dtype] : kTypes) {
    if (type == name) return dtype;
  }
  fail("{}: a {}, expected a tensor of numbers", place, shown(type));
}

/// Elements of the storage that the tensor reaches, from its start; nothing when the description makes no
/// sense or stands for more elements than there are (a stride of 0 repeats them).
std::optional<size_t> reach(const PickledTensor& tensor, size_t available) {
  if (tensor.offset < 0 || tensor.sizes.size() != tensor.strides.size()) return std::nullopt;
  size_t last = static_cast<size_t>(tensor.offset);
  size_t count = 1;
  for (size_t i = 0; i < tensor.sizes.size(); ++i) {
    if (tensor.sizes[i] < 1 || tensor.strides[i] < 0) return std::nullopt;
    size_t step = 0;
    if (__builtin_mul_overflow(static_cast<size_t>(tensor.sizes[i] - 1),
                               static_cast<size_t>(tensor.strides[i]), &step) ||
        __builtin_add_overflow(last, step, &last) ||
        __builtin_mul_overflow(count, static_cast<size_t>(tensor.sizes[i]), &count)) {
      return std::nullopt;
    }
  }
  if (last >= available || count > available) return std::nullopt;
  return last + 1;
}

at::Tensor load(const PickledTensor& tensor, const std::string& name, const Records& records,
                const std::string& file) {
  const std::string place = fmt::format("{}: '{}'", file, shown(name));
  const at::ScalarType dtype = storage_dtype(tensor.storage_type, place);
  const std::optional<std::string_view> record = records.find("data/" + tensor.record);
  check(record.has_value(), "{}: cannot be read as a torch archive of tensors: the data of '{}' is not in it",
        file, shown(name));
  const size_t element_size = c10::elementSize(dtype);
  const std::optional<size_t> elements = reach(tensor, record->size() / element_size);
  check(elements.has_value(), "{} does not fit the data stored for it", place);
  // By way of a copy: in the file nothing is aligned.
  const at::Tensor storage = at::empty({static_cast<int64_t>(*elements)}, at::TensorOptions(dtype));
  std::memcpy(storage.mutable_data_ptr(), record->data(), storage.nbytes());
  return storage.as_strided(tensor.sizes, tensor.strides, tensor.offset).clone(at::MemoryFormat::Contiguous);
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
  const std::string file = path.string();
  const Records records(path);
  check_byte_order(records, file);
  TensorTable table;
  size_t total = 0;
  for (const auto& [name, tensor] : run_pickle(records.find("data.pkl").value(), file)) {
    const at::Tensor values = load(tensor, name, records, file);
    total += values.nbytes();
    // Each tensor has its own data in a file of rotations.
    check(total <= records.file_size(), "{}: damaged: its tensors are larger than the file", file);
    table.emplace(name, values);
  }
  return table;
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
