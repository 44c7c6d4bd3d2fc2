#include "data/safetensors_writer.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "data/atomic_file.h"
#include "data/shape_text.h"

namespace spq::data {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr size_t kAlignment = 8;

/// The file's spelling of a dtype; empty when there is none.
std::string_view dtype_name(at::ScalarType dtype) {
  static constexpr std::pair<at::ScalarType, std::string_view> kNames[] = {
      {at::kDouble, "F64"}, {at::kFloat, "F32"}, {at::kHalf, "F16"},  {at::kBFloat16, "BF16"},
      {at::kLong, "I64"},   {at::kInt, "I32"},   {at::kShort, "I16"}, {at::kChar, "I8"},
      {at::kByte, "U8"},    {at::kBool, "BOOL"}};
  for (const auto& [type, name] : kNames) {
    if (type == dtype) return name;
  }
  return {};
}

void check_specs(const std::vector<TensorSpec>& tensors, const std::string& place) {
  for (const TensorSpec& t : tensors) {
    check(!t.name.empty() && t.name != "__metadata__", "{}: a tensor cannot be named '{}'", place, t.name);
    check(!dtype_name(t.dtype).empty(), "{}: tensor '{}' has dtype {}, which safetensors files do not hold",
          place, t.name, c10::toString(t.dtype));
    check(std::ranges::all_of(t.shape, [](int64_t size) { return size >= 0; }),
          "{}: tensor '{}' has shape {}, expected sizes of 0 or more", place, t.name, shape_text(t.shape));
  }
}

/// The reference writer's order.
std::vector<TensorSpec> in_file_order(std::vector<TensorSpec> tensors) {
  std::ranges::sort(tensors, [](const TensorSpec& a, const TensorSpec& b) {
    const size_t size_a = c10::elementSize(a.dtype);
    const size_t size_b = c10::elementSize(b.dtype);
    return size_a != size_b ? size_a > size_b : a.name < b.name;
  });
  return tensors;
}

/// Length field and header of tensors that follow one another in this order.
std::string header_bytes(const std::vector<TensorSpec>& tensors) {
  Json header = Json::object();
  header["__metadata__"] = {{"format", "pt"}};
  size_t end = 0;
  for (const TensorSpec& t : tensors) {
    const size_t begin = end;
    end += t.bytes();
    header[t.name] = {{"dtype", dtype_name(t.dtype)}, {"shape", t.shape}, {"data_offsets", {begin, end}}};
  }
  std::string text = header.dump();
  text.append((kAlignment - text.size() % kAlignment) % kAlignment, ' ');
  const uint64_t length = text.size();
  std::string bytes(sizeof(length), '\0');
  std::memcpy(bytes.data(), &length, sizeof(length));
  return bytes + text;
}

}  // namespace

size_t TensorSpec::bytes() const {
  size_t count = c10::elementSize(dtype);
  for (const int64_t size : shape) count *= static_cast<size_t>(size);
  return count;
}

SafetensorsWriter::SafetensorsWriter(fs::path path, const std::vector<TensorSpec>& tensors)
    : path_(std::move(path)),
      temporary_(path_.parent_path() / fmt::format(".{}.{}.partial", path_.filename().string(), getpid())) {
  check_specs(tensors, path_.string());
  const std::vector<TensorSpec> order = in_file_order(tensors);
  const std::string header = header_bytes(order);
  size_t begin = header.size();
  for (const TensorSpec& t : order) {
    check(places_.emplace(t.name, Place{t, begin}).second, "{}: tensor '{}' is given twice", path_.string(),
          t.name);
    begin += t.bytes();
  }
  for (const auto& [name, place] : places_) missing_.emplace(name, &place);
  descriptor_ = open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  check(descriptor_ >= 0, "{}: cannot write ({})", path_.string(), std::strerror(errno));
  try {
    write_at(header.data(), header.size(), 0);
  } catch (...) {  // no destructor runs for an object that was never made
    close(descriptor_);
    unlink(temporary_.c_str());
    throw;
  }
}

SafetensorsWriter::~SafetensorsWriter() {
  if (descriptor_ < 0) return;
  close(descriptor_);
  unlink(temporary_.c_str());
}

void SafetensorsWriter::write_at(const void* data, size_t size, size_t offset) const {
  const char* bytes = static_cast<const char*>(data);
  for (size_t done = 0; done < size;) {
    const ssize_t written = pwrite(descriptor_, bytes + done, size - done, static_cast<off_t>(offset + done));
    if (written < 0 && errno == EINTR) continue;
    check(written > 0, "{}: cannot write ({})", path_.string(), std::strerror(written < 0 ? errno : ENOSPC));
    done += static_cast<size_t>(written);
  }
}

void SafetensorsWriter::write(const std::string& name, const at::Tensor& tensor) {
  const std::string file = path_.string();
  const auto found = places_.find(name);
  check(found != places_.end(), "{}: tensor '{}' was not announced", file, name);
  const auto& [spec, begin] = found->second;
  check(missing_.contains(name), "{}: tensor '{}' is written twice", file, name);
  check(tensor.scalar_type() == spec.dtype && tensor.sizes() == at::IntArrayRef(spec.shape),
        "{}: tensor '{}' is {} {}, announced as {} {}", file, name, c10::toString(tensor.scalar_type()),
        shape_text(tensor.sizes()), c10::toString(spec.dtype), shape_text(spec.shape));
  const at::Tensor values = tensor.contiguous();
  write_at(values.const_data_ptr(), values.nbytes(), begin);
  missing_.erase(name);
}

void SafetensorsWriter::finish() {
  check(missing_.empty(), "{}: tensor '{}' was never written", path_.string(),
        missing_.empty() ? "" : missing_.begin()->first);
  SPQ_ASSERT(descriptor_ >= 0);
  write_atomically(path_, [this](const fs::path& temporary) {
    std::error_code error;
    fs::rename(temporary_, temporary, error);
    check(!error, "{}: cannot write ({})", path_.string(), error.message());
  });
  close(descriptor_);
  descriptor_ = -1;
}

}  // namespace spq::data
