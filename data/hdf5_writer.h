// HDF5 files built in memory, with handles that close themselves. hdf5.h stays in the .cpp file.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/hdf5_values.h"

namespace spq::data {

/// Owns any HDF5 identifier (hid_t); closes it at the end of its life.
class Hdf5Id {
 public:
  Hdf5Id() = default;
  explicit Hdf5Id(int64_t id) : id_(id) {}
  ~Hdf5Id();
  Hdf5Id(Hdf5Id&& other) noexcept : id_(other.release()) {}
  Hdf5Id& operator=(Hdf5Id&& other) noexcept;
  bool valid() const { return id_ >= 0; }
  int64_t get() const { return id_; }
  int64_t release();

 private:
  int64_t id_ = -1;
};

/// Keeps HDF5 from printing its own error stack (per thread) while it lives: our messages say what went
/// wrong.
class Hdf5Silence {
 public:
  Hdf5Silence();
  ~Hdf5Silence();
  Hdf5Silence(const Hdf5Silence&) = delete;
  Hdf5Silence& operator=(const Hdf5Silence&) = delete;

 private:
  int (*function_)(int64_t, void*) = nullptr;
  void* data_ = nullptr;
};

// Every `place` below is what an error starts with: the file, and the object inside it where there is one.

/// Creates a file in memory whose first `user_block` bytes belong to the caller. In memory because HDF5 1.10
/// cannot close a file that it could not write (full disk): it crashes when the process ends.
Hdf5Id create_hdf5(size_t user_block, const std::string& place);
/// The bytes of that file, its user block (zeros) included.
std::string hdf5_image(const Hdf5Id& file, size_t user_block, const std::string& place);

Hdf5Id create_group(const Hdf5Id& parent, const std::string& name, const std::string& place);

/// Text must not contain NUL characters (Error), as HDF5 strings end there.
void write_attribute(const Hdf5Id& object, const std::string& name, const AttributeValue& value,
                     const std::string& place);

/// Writes fp32 numbers, row-major, little-endian, in chunks of whole leading rows with Fletcher32.
Hdf5Id write_floats(const Hdf5Id& parent, const std::string& name, const float* data,
                    const std::vector<int64_t>& shape, const std::string& place);

}  // namespace spq::data
