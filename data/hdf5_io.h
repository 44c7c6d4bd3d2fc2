// The little we need of HDF5, with handles that close themselves. hdf5.h stays in the .cpp file.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <variant>
#include <vector>

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

using AttributeValue = std::variant<int64_t, std::string>;
using AttributeMap = std::map<std::string, AttributeValue>;

/// What a dataset looks like.
struct DatasetLayout {
  std::vector<int64_t> shape;
  std::vector<int64_t> chunk;  // empty when it is not chunked
  int64_t stored_chunks = 0;   // chunks that are in the file
  bool has_fletcher32 = false;
};

enum class ElementType { kFloat32, kUint32 };

// Every `place` below is what an error starts with: the file, and the object inside it where there is one.

/// Opens read-only and without file locks: nothing ever writes into a file under its final name.
Hdf5Id open_hdf5(const std::filesystem::path& path);
/// Creates a file in memory whose first `user_block` bytes belong to the caller. In memory because HDF5 1.10
/// cannot close a file that it could not write (full disk): it crashes when the process ends.
Hdf5Id create_hdf5(size_t user_block, const std::string& place);
/// The bytes of that file, its user block (zeros) included.
std::string hdf5_image(const Hdf5Id& file, size_t user_block, const std::string& place);

Hdf5Id open_group(const Hdf5Id& parent, const std::string& name, const std::string& place);
Hdf5Id create_group(const Hdf5Id& parent, const std::string& name, const std::string& place);
bool has_member(const Hdf5Id& parent, const std::string& name);

/// Text must not contain NUL characters (Error), as HDF5 strings end there.
void write_attribute(const Hdf5Id& object, const std::string& name, const AttributeValue& value,
                     const std::string& place);
/// All attributes of an object. Error on one that is neither an integer nor a string (of fixed or variable
/// length).
AttributeMap read_attributes(const Hdf5Id& object, const std::string& place);
/// One value out of them. Error naming the attribute when it is absent or of the other kind.
int64_t int_attribute(const AttributeMap& attributes, const std::string& name, const std::string& place);
const std::string& text_attribute(const AttributeMap& attributes, const std::string& name,
                                  const std::string& place);

/// Writes fp32 numbers, row-major, little-endian, in chunks of whole leading rows with Fletcher32.
Hdf5Id write_floats(const Hdf5Id& parent, const std::string& name, const float* data,
                    const std::vector<int64_t>& shape, const std::string& place);
/// Error when it is absent or its elements are not little-endian of this type.
Hdf5Id open_dataset(const Hdf5Id& parent, const std::string& name, ElementType type,
                    const std::string& place);
DatasetLayout dataset_layout(const Hdf5Id& dataset, const std::string& place);
/// Reads everything into `to`, which has room for the layout's shape. Error on a damaged chunk.
void read_floats(const Hdf5Id& dataset, float* to, const std::string& place);
/// Entries [begin, begin + count) of a vector. False when HDF5 cannot read them, a damaged chunk for example.
bool read_uint32_range(int64_t dataset, int64_t begin, int64_t count, uint32_t* to);

}  // namespace spq::data
