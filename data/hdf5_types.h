// Types and shapes of HDF5 values, as their headers give them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace spq::data {

struct Hdf5Type {
  enum class Kind { kInteger, kFloat32, kFixedText, kVariableText, kOther };
  Kind kind = Kind::kOther;
  uint64_t size = 0;             // bytes of a value
  bool is_big_endian = false;    // integers
  bool is_signed = false;        // integers
  bool padded_by_space = false;  // fixed text
};

/// Error starting with `place` when the message is cut short.
Hdf5Type parse_type(std::string_view message, const std::string& place);

/// The sizes; none for a single value. Error starting with `place` on damage and on more than 8 dimensions.
std::vector<int64_t> parse_dataspace(std::string_view message, const std::string& place);

}  // namespace spq::data
