#include "token_writer.h"

#include <gtest/gtest.h>
#include <hdf5.h>

#include <algorithm>

namespace spq::data {
namespace {

void write_text_attribute(hid_t file, const char* name, const std::string& text, bool fixed) {
  const hid_t type = H5Tcopy(H5T_C_S1);
  H5Tset_size(type, fixed ? text.size() + 3 : H5T_VARIABLE);
  H5Tset_cset(type, H5T_CSET_UTF8);
  const hid_t space = H5Screate(H5S_SCALAR);
  const hid_t attribute = H5Acreate2(file, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
  const std::string padded = text + std::string(3, '\0');
  const char* variable = text.c_str();
  EXPECT_GE(H5Awrite(attribute, type, fixed ? static_cast<const void*>(padded.data()) : &variable), 0);
  H5Aclose(attribute);
  H5Sclose(space);
  H5Tclose(type);
}

void write_int_attribute(hid_t file, const char* name, int64_t value) {
  const hid_t space = H5Screate(H5S_SCALAR);
  const hid_t attribute = H5Acreate2(file, name, H5T_STD_I64LE, space, H5P_DEFAULT, H5P_DEFAULT);
  EXPECT_GE(H5Awrite(attribute, H5T_NATIVE_INT64, &value), 0);
  H5Aclose(attribute);
  H5Sclose(space);
}

void write_tokens(hid_t file, const TokenFileRecipe& recipe) {
  const hsize_t size = recipe.tokens.size();
  const hsize_t chunk = kTestChunk;
  const hsize_t unlimited = H5S_UNLIMITED;
  const hid_t space = H5Screate_simple(1, &size, &unlimited);
  const hid_t creation = H5Pcreate(H5P_DATASET_CREATE);
  H5Pset_chunk(creation, 1, &chunk);
  if (recipe.gzip) H5Pset_deflate(creation, 4);
  if (recipe.fletcher32) H5Pset_fletcher32(creation);
  const hid_t type = recipe.signed_tokens ? H5T_STD_I32LE : H5T_STD_U32LE;
  const hid_t dataset = H5Dcreate2(file, "tokens", type, space, H5P_DEFAULT, creation, H5P_DEFAULT);
  const hsize_t written = recipe.leave_last_chunk ? (size - 1) / chunk * chunk : size;
  const hsize_t start = 0;
  if (written > 0) {
    const hid_t memory = H5Screate_simple(1, &written, nullptr);
    H5Sselect_hyperslab(space, H5S_SELECT_SET, &start, nullptr, &written, nullptr);
    EXPECT_GE(H5Dwrite(dataset, H5T_NATIVE_UINT32, memory, space, H5P_DEFAULT, recipe.tokens.data()), 0);
    H5Sclose(memory);
  }
  H5Dclose(dataset);
  H5Pclose(creation);
  H5Sclose(space);
}

}  // namespace

void write_token_file(const std::filesystem::path& path, const TokenFileRecipe& recipe) {
  const hid_t file = H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  ASSERT_GE(file, 0);
  const std::pair<const char*, std::string> texts[] = {{"format", recipe.format},
                                                       {"tokenizer_sha256", std::string(64, 'c')},
                                                       {"source", "text.txt"},
                                                       {"layout", "whole"}};
  for (const auto& [name, text] : texts) {
    if (name != recipe.left_out) write_text_attribute(file, name, text, recipe.fixed_strings);
  }
  const std::pair<const char*, int64_t> numbers[] = {
      {"version", recipe.version}, {"vocab_size", recipe.vocab_size}, {"bos", -1}};
  for (const auto& [name, value] : numbers) {
    if (name != recipe.left_out) write_int_attribute(file, name, value);
  }
  if (recipe.left_out != "tokens") write_tokens(file, recipe);
  EXPECT_GE(H5Fclose(file), 0);
}

}  // namespace spq::data
