// The attribute part of hdf5_io.h.
#include <hdf5.h>

#include <algorithm>

#include "core/error.h"
#include "data/hdf5_io.h"

namespace spq::data {
namespace {

constexpr size_t kMaxFixedText = size_t{1} << 20;

/// A type for variable-length UTF-8 text, what h5py writes for str.
Hdf5Id text_type() {
  Hdf5Id type(H5Tcopy(H5T_C_S1));
  H5Tset_size(type.get(), H5T_VARIABLE);
  H5Tset_cset(type.get(), H5T_CSET_UTF8);
  return type;
}

std::string read_variable_text(int64_t attribute, int64_t type, const std::string& place) {
  char* text = nullptr;
  check(H5Aread(attribute, type, &text) >= 0, "{}: cannot be read (damaged?)", place);
  std::string result = text == nullptr ? "" : text;
  H5free_memory(text);
  return result;
}

std::string read_fixed_text(int64_t attribute, int64_t type, const std::string& place) {
  const size_t size = H5Tget_size(type);
  check(size <= kMaxFixedText, "{}: {} bytes long, expected at most {}", place, size, kMaxFixedText);
  std::string text(size, '\0');
  check(H5Aread(attribute, type, text.data()) >= 0, "{}: cannot be read (damaged?)", place);
  text.resize(std::min(text.find('\0'), size));
  if (H5Tget_strpad(type) == H5T_STR_SPACEPAD) text.resize(text.find_last_not_of(' ') + 1);
  return text;
}

AttributeValue read_attribute(int64_t attribute, const std::string& place) {
  const Hdf5Id type(H5Aget_type(attribute));
  const Hdf5Id space(H5Aget_space(attribute));
  check(type.valid() && space.valid() && H5Sget_simple_extent_npoints(space.get()) == 1,
        "{}: expected a single value", place);
  const H5T_class_t kind = H5Tget_class(type.get());
  if (kind == H5T_STRING) {
    return H5Tis_variable_str(type.get()) > 0 ? read_variable_text(attribute, type.get(), place)
                                              : read_fixed_text(attribute, type.get(), place);
  }
  check(kind == H5T_INTEGER && H5Tget_size(type.get()) <= sizeof(int64_t),
        "{}: expected an integer or a string", place);
  int64_t value = 0;
  check(H5Aread(attribute, H5T_NATIVE_INT64, &value) >= 0, "{}: cannot be read (damaged?)", place);
  return value;
}

std::string attribute_name(int64_t attribute, const std::string& place) {
  const ssize_t length = H5Aget_name(attribute, 0, nullptr);
  check(length > 0 && static_cast<size_t>(length) < kMaxFixedText, "{}: an attribute's name cannot be read",
        place);
  std::string name(static_cast<size_t>(length) + 1, '\0');
  H5Aget_name(attribute, name.size(), name.data());
  name.pop_back();
  return name;
}

}  // namespace

void write_attribute(const Hdf5Id& object, const std::string& name, const AttributeValue& value,
                     const std::string& place) {
  const bool is_text = std::holds_alternative<std::string>(value);
  const std::string text = is_text ? std::get<std::string>(value) : "";
  check(text.find('\0') == std::string::npos, "{}: attribute '{}' contains a NUL character", place, name);
  const Hdf5Id type = is_text ? text_type() : Hdf5Id(H5Tcopy(H5T_STD_I64LE));
  const Hdf5Id space(H5Screate(H5S_SCALAR));
  const Hdf5Id attribute(
      H5Acreate2(object.get(), name.c_str(), type.get(), space.get(), H5P_DEFAULT, H5P_DEFAULT));
  const char* characters = text.c_str();
  const bool ok = attribute.valid() &&
                  (is_text ? H5Awrite(attribute.get(), type.get(), &characters)
                           : H5Awrite(attribute.get(), H5T_NATIVE_INT64, &std::get<int64_t>(value))) >= 0;
  check(ok, "{}: cannot write attribute '{}'", place, name);
}

AttributeMap read_attributes(const Hdf5Id& object, const std::string& place) {
  H5O_info_t info{};
  check(H5Oget_info2(object.get(), &info, H5O_INFO_NUM_ATTRS) >= 0, "{}: damaged (no attributes readable)",
        place);
  AttributeMap attributes;
  for (hsize_t i = 0; i < info.num_attrs; ++i) {
    const Hdf5Id attribute(
        H5Aopen_by_idx(object.get(), ".", H5_INDEX_NAME, H5_ITER_INC, i, H5P_DEFAULT, H5P_DEFAULT));
    check(attribute.valid(), "{}: damaged (attribute {} cannot be read)", place, i);
    const std::string name = attribute_name(attribute.get(), place);
    attributes.emplace(name, read_attribute(attribute.get(), fmt::format("{}: attribute '{}'", place, name)));
  }
  return attributes;
}

int64_t int_attribute(const AttributeMap& attributes, const std::string& name, const std::string& place) {
  const auto found = attributes.find(name);
  check(found != attributes.end(), "{}: no attribute '{}', expected an integer", place, name);
  const auto* value = std::get_if<int64_t>(&found->second);
  check(value != nullptr, "{}: attribute '{}' is a string, expected an integer", place, name);
  return *value;
}

const std::string& text_attribute(const AttributeMap& attributes, const std::string& name,
                                  const std::string& place) {
  const auto found = attributes.find(name);
  check(found != attributes.end(), "{}: no attribute '{}', expected a string", place, name);
  const auto* value = std::get_if<std::string>(&found->second);
  check(value != nullptr, "{}: attribute '{}' is an integer, expected a string", place, name);
  return *value;
}

}  // namespace spq::data
