// Our HDF5 reader against files that the library writes.
#include "data/hdf5_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <hdf5.h>

#include <functional>
#include <numeric>

#include "data/hdf5_dataset.h"
#include "support.h"

namespace spq::data {
namespace {

using ::testing::HasSubstr;

class Hdf5FileTest : public ::testing::Test {
 protected:
  void write(const std::function<void(hid_t)>& fill, bool latest_format = false) const {
    const hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    if (latest_format) H5Pset_libver_bounds(access, H5F_LIBVER_LATEST, H5F_LIBVER_LATEST);
    const hid_t file = H5Fcreate(path_.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, access);
    ASSERT_GE(file, 0);
    fill(file);
    H5Pclose(access);
    ASSERT_GE(H5Fclose(file), 0);
  }
  static void write_number(hid_t file, const char* name, hid_t type, int64_t value) {
    const hid_t space = H5Screate(H5S_SCALAR);
    const hid_t attribute = H5Acreate2(file, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    EXPECT_GE(H5Awrite(attribute, H5T_NATIVE_INT64, &value), 0);
    H5Aclose(attribute);
    H5Sclose(space);
  }
  /// Numbers 0, 1, 2, ... in `shape`.
  static void write_counting(hid_t file, const char* name, const std::vector<hsize_t>& shape,
                             const std::vector<hsize_t>& chunk, const std::function<void(hid_t)>& filters) {
    const int rank = static_cast<int>(shape.size());
    std::vector<uint32_t> numbers(
        std::accumulate(shape.begin(), shape.end(), hsize_t{1}, std::multiplies<>()));
    std::iota(numbers.begin(), numbers.end(), 0u);
    const hid_t space = H5Screate_simple(rank, shape.data(), nullptr);
    const hid_t creation = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_chunk(creation, rank, chunk.data());
    filters(creation);
    const hid_t dataset = H5Dcreate2(file, name, H5T_STD_U32LE, space, H5P_DEFAULT, creation, H5P_DEFAULT);
    EXPECT_GE(H5Dwrite(dataset, H5T_NATIVE_UINT32, H5S_ALL, H5S_ALL, H5P_DEFAULT, numbers.data()), 0);
    H5Dclose(dataset);
    H5Pclose(creation);
    H5Sclose(space);
  }
  std::string opening_error() const {
    return error_of([&] {
      const Hdf5File file(path_);
      Hdf5Object(file, file.root_address(), path_.string()).attributes();
    });
  }
  const TempDir folder_;
  const std::filesystem::path path_ = folder_.path() / "file.h5";
};

TEST_F(Hdf5FileTest, ReadsRowsOfAnyRangeOutOfManyChunks) {
  // More chunks than one node of HDF5's tree holds, the last one not full.
  const std::function<void(hid_t)> kFilters[] = {
      [](hid_t) {}, [](hid_t list) { H5Pset_fletcher32(list); },
      [](hid_t list) { H5Pset_deflate(list, 6), H5Pset_fletcher32(list); },
      [](hid_t list) { H5Pset_fletcher32(list), H5Pset_deflate(list, 6); }};
  for (const auto& filters : kFilters) {
    write([&](hid_t file) { write_counting(file, "rows", {1999, 3}, {7, 3}, filters); });
    const Hdf5File file(path_);
    const Hdf5Object root(file, file.root_address(), path_.string());
    const Hdf5Dataset rows(root, "rows", ElementType::kUint32);
    EXPECT_EQ(rows.layout().shape, (std::vector<int64_t>{1999, 3}));
    EXPECT_EQ(rows.layout().stored_chunks, 286);
    for (const auto& [begin, count] : {std::pair(0, 1999), {6, 2}, {1998, 1}, {700, 7}, {1999, 0}}) {
      std::vector<uint32_t> found(3 * static_cast<size_t>(count)), expected(found.size());
      std::iota(expected.begin(), expected.end(), static_cast<uint32_t>(3 * begin));
      ASSERT_TRUE(rows.read_rows(begin, count, found.data()));
      EXPECT_EQ(found, expected);
    }
  }
}

TEST_F(Hdf5FileTest, FindsEveryMemberOfALargeGroup) {
  const auto name = [](int i) { return "member" + std::to_string(i); };
  write([&](hid_t file) {
    for (int i = 0; i < 200; ++i) {
      H5Gclose(H5Gcreate2(file, name(i).c_str(), H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
    }
  });
  const Hdf5File file(path_);
  const Hdf5Object root(file, file.root_address(), path_.string());
  for (int i = 0; i < 200; ++i) EXPECT_TRUE(root.member(name(i)).has_value()) << i;
  EXPECT_FALSE(root.member("member").has_value());
  EXPECT_FALSE(root.member("member2000").has_value());
}

TEST_F(Hdf5FileTest, ReadsIntegersOfEveryWidthSignAndByteOrder) {
  write([](hid_t file) {
    for (const hid_t type : {H5T_STD_I8LE, H5T_STD_I16LE, H5T_STD_I32BE, H5T_STD_I64LE, H5T_STD_I64BE}) {
      write_number(file, ("signed" + std::to_string(type)).c_str(), type, -7);
    }
    for (const hid_t type : {H5T_STD_U8LE, H5T_STD_U16BE, H5T_STD_U32LE, H5T_STD_U64BE}) {
      write_number(file, ("unsigned" + std::to_string(type)).c_str(), type, 200);
    }
  });
  const Hdf5File file(path_);
  const AttributeMap attributes = Hdf5Object(file, file.root_address(), path_.string()).attributes();
  EXPECT_EQ(attributes.size(), 9u);
  for (const auto& [name, value] : attributes) {
    EXPECT_EQ(std::get<int64_t>(value), name.starts_with("signed") ? -7 : 200) << name;
  }
}

TEST_F(Hdf5FileTest, RefusesWhatItDoesNotReadByName) {
  write([](hid_t) {}, /*latest_format=*/true);
  EXPECT_THAT(opening_error(), HasSubstr("superblock version 3, this program reads 0 and 1"));
  write([](hid_t file) { write_number(file, "number", H5T_IEEE_F64LE, 1); });
  EXPECT_THAT(opening_error(), HasSubstr("attribute 'number': expected an integer or a string"));
  write([](hid_t file) { write_counting(file, "rows", {8}, {4}, [](hid_t list) { H5Pset_shuffle(list); }); });
  const Hdf5File file(path_);
  const Hdf5Object root(file, file.root_address(), path_.string());
  EXPECT_THAT(error_of([&] { Hdf5Dataset(root, "rows", ElementType::kUint32); }),
              HasSubstr("dataset 'rows': went through HDF5 filter 2"));
}

}  // namespace
}  // namespace spq::data
