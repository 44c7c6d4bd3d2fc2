#include "data/hdf5_io.h"

#include <hdf5.h>

#include <algorithm>
#include <utility>

#include "core/error.h"

namespace spq::data {
namespace {

static_assert(std::is_same_v<hid_t, int64_t>, "the handles in hdf5_io.h assume HDF5 1.10 or newer");

constexpr int64_t kChunkBytes = int64_t{1} << 20;
constexpr int64_t kMaxRank = 8;
constexpr size_t kMemoryStep = size_t{16} << 20;  // by which a file in memory grows

/// A list of access properties without file locking, which some network file systems lack.
Hdf5Id unlocked_access() {
  Hdf5Id access(H5Pcreate(H5P_FILE_ACCESS));
  check(H5Pset_file_locking(access.get(), 0, 1) >= 0, "HDF5: cannot switch file locking off");
  return access;
}

hid_t file_type(ElementType type) {
  return type == ElementType::kFloat32 ? H5T_IEEE_F32LE : H5T_STD_U32LE;
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

Hdf5Id open_hdf5(const std::filesystem::path& path) {
  std::error_code error;
  const auto status = std::filesystem::status(path, error);
  check(!error && std::filesystem::exists(status), "{}: no such file", path.string());
  check(std::filesystem::is_regular_file(status), "{}: not a regular file", path.string());
  const Hdf5Id access = unlocked_access();
  Hdf5Id file(H5Fopen(path.c_str(), H5F_ACC_RDONLY, access.get()));
  check(file.valid(), "{}: cannot be read as HDF5: another format, truncated or damaged", path.string());
  return file;
}

Hdf5Id create_hdf5(size_t user_block, const std::string& place) {
  const Hdf5Id creation(H5Pcreate(H5P_FILE_CREATE));
  const Hdf5Id access = unlocked_access();
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

Hdf5Id open_group(const Hdf5Id& parent, const std::string& name, const std::string& place) {
  Hdf5Id group(H5Gopen2(parent.get(), name.c_str(), H5P_DEFAULT));
  check(group.valid(), "{}: no group '{}', or a damaged one", place, name);
  return group;
}

Hdf5Id create_group(const Hdf5Id& parent, const std::string& name, const std::string& place) {
  Hdf5Id group(H5Gcreate2(parent.get(), name.c_str(), H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
  check(group.valid(), "{}: cannot write group '{}'", place, name);
  return group;
}

bool has_member(const Hdf5Id& parent, const std::string& name) {
  return H5Lexists(parent.get(), name.c_str(), H5P_DEFAULT) > 0;
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

Hdf5Id open_dataset(const Hdf5Id& parent, const std::string& name, ElementType type,
                    const std::string& place) {
  check(has_member(parent, name), "{}: no dataset '{}'", place, name);
  Hdf5Id dataset(H5Dopen2(parent.get(), name.c_str(), H5P_DEFAULT));
  check(dataset.valid(), "{}: '{}' is not a dataset, or damaged", place, name);
  const Hdf5Id found(H5Dget_type(dataset.get()));
  check(H5Tequal(found.get(), file_type(type)) > 0, "{}: dataset '{}' has another element type, expected {}",
        place, name, type == ElementType::kFloat32 ? "float32 (little-endian)" : "uint32 (little-endian)");
  return dataset;
}

DatasetLayout dataset_layout(const Hdf5Id& dataset, const std::string& place) {
  const Hdf5Id space(H5Dget_space(dataset.get()));
  const Hdf5Id creation(H5Dget_create_plist(dataset.get()));
  const int rank = H5Sget_simple_extent_ndims(space.get());
  check(creation.valid() && rank >= 0 && rank <= kMaxRank, "{}: damaged (its layout cannot be read)", place);
  std::vector<hsize_t> found(static_cast<size_t>(rank));
  H5Sget_simple_extent_dims(space.get(), found.data(), nullptr);
  DatasetLayout layout;
  layout.shape.assign(found.begin(), found.end());
  if (H5Pget_layout(creation.get()) != H5D_CHUNKED) return layout;
  check(H5Pget_chunk(creation.get(), rank, found.data()) == rank, "{}: damaged (its chunks cannot be read)",
        place);
  layout.chunk.assign(found.begin(), found.end());
  hsize_t stored = 0;
  check(H5Dget_num_chunks(dataset.get(), space.get(), &stored) >= 0,
        "{}: damaged (its chunks cannot be counted)", place);
  layout.stored_chunks = static_cast<int64_t>(stored);
  for (int i = 0; i < H5Pget_nfilters(creation.get()); ++i) {
    unsigned int flags = 0;
    unsigned int config = 0;
    size_t values = 0;
    const auto filter = H5Pget_filter2(creation.get(), static_cast<unsigned int>(i), &flags, &values, nullptr,
                                       0, nullptr, &config);
    layout.has_fletcher32 = layout.has_fletcher32 || filter == H5Z_FILTER_FLETCHER32;
  }
  return layout;
}

void read_floats(const Hdf5Id& dataset, float* to, const std::string& place) {
  check(H5Dread(dataset.get(), H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, to) >= 0,
        "{}: damaged (its numbers cannot be read)", place);
}

bool read_uint32_range(int64_t dataset, int64_t begin, int64_t count, uint32_t* to) {
  const auto start = static_cast<hsize_t>(begin);
  const auto length = static_cast<hsize_t>(count);
  const Hdf5Id file_space(H5Dget_space(dataset));
  const Hdf5Id memory_space(H5Screate_simple(1, &length, nullptr));
  return H5Sselect_hyperslab(file_space.get(), H5S_SELECT_SET, &start, nullptr, &length, nullptr) >= 0 &&
         H5Dread(dataset, H5T_NATIVE_UINT32, memory_space.get(), file_space.get(), H5P_DEFAULT, to) >= 0;
}

}  // namespace spq::data
