#include "data/hdf5_writer.h"

#include <hdf5.h>

#include <algorithm>
#include <utility>

#include "core/error.h"

namespace spq::data {
namespace {

static_assert(std::is_same_v<hid_t, int64_t>, "the handles in hdf5_writer.h assume HDF5 1.10 or newer");

constexpr int64_t kChunkBytes = int64_t{1} << 20;
constexpr size_t kMemoryStep = size_t{16} << 20;  // by which a file in memory grows

/// A type for variable-length UTF-8 text, what h5py writes for str.
Hdf5Id text_type() {
  Hdf5Id type(H5Tcopy(H5T_C_S1));
  H5Tset_size(type.get(), H5T_VARIABLE);
  H5Tset_cset(type.get(), H5T_CSET_UTF8);
  return type;
}

std::vector<hsize_t> sizes(const std::vector<int64_t>& shape) {
  return {shape.begin(), shape.end()};
}

}  // namespace

Hdf5Id::~Hdf5Id() {
  if (id_ >= 0) H5Idec_ref(id_);
}

Hdf5Id& Hdf5Id::operator=(Hdf5Id&& other) noexcept {
  std::swap(id_, other.id_);
  return *this;
}

int64_t Hdf5Id::release() {
  return std::exchange(id_, -1);
}

Hdf5Silence::Hdf5Silence() {
  H5Eget_auto2(H5E_DEFAULT, &function_, &data_);
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
}

Hdf5Silence::~Hdf5Silence() {
  H5Eset_auto2(H5E_DEFAULT, function_, data_);
}

Hdf5Id create_hdf5(size_t user_block, const std::string& place) {
  const Hdf5Id creation(H5Pcreate(H5P_FILE_CREATE));
  const Hdf5Id access(H5Pcreate(H5P_FILE_ACCESS));
  check(H5Pset_userblock(creation.get(), user_block) >= 0 &&
            H5Pset_fapl_core(access.get(), kMemoryStep, /*backing_store=*/false) >= 0,
        "{}: HDF5 refuses a file in memory", place);
  Hdf5Id result(H5Fcreate(place.c_str(), H5F_ACC_TRUNC, creation.get(), access.get()));
  check(result.valid(), "{}: HDF5 cannot create a file in memory", place);
  return result;
}

std::string hdf5_image(const Hdf5Id& file, size_t user_block, const std::string& place) {
  const bool flushed = H5Fflush(file.get(), H5F_SCOPE_GLOBAL) >= 0;
  const ssize_t size = flushed ? H5Fget_file_image(file.get(), nullptr, 0) : -1;
  check(size > 0, "{}: HDF5 cannot build the file in memory", place);
  // HDF5 hands out the file without its user block, yet with addresses that count it.
  std::string image(user_block + static_cast<size_t>(size), '\0');
  check(H5Fget_file_image(file.get(), image.data() + user_block, static_cast<size_t>(size)) == size,
        "{}: HDF5 cannot copy the file", place);
  return image;
}

Hdf5Id create_group(const Hdf5Id& parent, const std::string& name, const std::string& place) {
  Hdf5Id group(H5Gcreate2(parent.get(), name.c_str(), H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
  check(group.valid(), "{}: cannot write group '{}'", place, name);
  return group;
}

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

Hdf5Id write_floats(const Hdf5Id& parent, const std::string& name, const float* data,
                    const std::vector<int64_t>& shape, const std::string& place) {
  int64_t row_bytes = sizeof(float);
  for (size_t i = 1; i < shape.size(); ++i) row_bytes *= shape[i];
  std::vector<int64_t> chunk = shape;
  chunk[0] = std::clamp<int64_t>(kChunkBytes / row_bytes, 1, shape[0]);
  const Hdf5Id space(H5Screate_simple(static_cast<int>(shape.size()), sizes(shape).data(), nullptr));
  const Hdf5Id creation(H5Pcreate(H5P_DATASET_CREATE));
  bool ok = H5Pset_chunk(creation.get(), static_cast<int>(chunk.size()), sizes(chunk).data()) >= 0;
  ok = ok && H5Pset_fletcher32(creation.get()) >= 0;
  // No time stamps: the same content gives the same bytes.
  ok = ok && H5Pset_obj_track_times(creation.get(), false) >= 0;
  Hdf5Id dataset(H5Dcreate2(parent.get(), name.c_str(), H5T_IEEE_F32LE, space.get(), H5P_DEFAULT,
                            creation.get(), H5P_DEFAULT));
  ok = ok && dataset.valid() &&
       H5Dwrite(dataset.get(), H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) >= 0;
  check(ok, "{}: cannot write dataset '{}'", place, name);
  return dataset;
}

}  // namespace spq::data
