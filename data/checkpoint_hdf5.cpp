#include "data/checkpoint_hdf5.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/stack.h>
#include <bit>
#include <limits>

#include "core/error.h"
#include "data/hdf5_dataset.h"
#include "data/hdf5_writer.h"
#include "data/rotation_check.h"
#include "data/sealed_file.h"
#include "data/sha256.h"
#include "data/shape_text.h"
#include "data/shown_text.h"

namespace spq::data {
namespace {

static_assert(std::endian::native == std::endian::little, "checksums are over little-endian bytes");

constexpr const char* kFormat = "spq-checkpoint";
constexpr int64_t kVersion = 1;
constexpr const char* kAttributeDigest = "attributes_sha256";
constexpr int64_t kMaxElements = int64_t{1} << 40;

using ObjectAttributes = std::map<std::string, AttributeMap>;  // path of the object -> its attributes

/// SHA-256 over all attributes in order of object and name, but the digest itself.
std::string attribute_digest(const ObjectAttributes& objects) {
  Sha256 hash;
  const auto add = [&hash](const std::string& text) { hash.update(text.c_str(), text.size() + 1); };
  for (const auto& [object, attributes] : objects) {
    for (const auto& [name, value] : attributes) {
      if (object == "/" && name == kAttributeDigest) continue;
      const bool is_text = std::holds_alternative<std::string>(value);
      add(object);
      add(name);
      add(is_text ? "string" : "int64");
      add(is_text ? std::get<std::string>(value) : std::to_string(std::get<int64_t>(value)));
    }
  }
  return hash.finish();
}

AttributeMap root_attributes(const Checkpoint& checkpoint) {
  return {{"format", kFormat},
          {"version", kVersion},
          {"hidden_size", checkpoint.rotations.r1.size(0)},
          {"num_layers", std::ssize(checkpoint.rotations.r2)},
          {"head_dim", checkpoint.rotations.r2[0].size(0)},
          {"has_momentum", int64_t{checkpoint.momentum.has_value()}},
          {"step", checkpoint.step},
          {"next_sequence", checkpoint.next_sequence},
          {"seed", checkpoint.seed},
          {"world_size", int64_t{checkpoint.world_size}},
          {"config_yaml", checkpoint.config_yaml},
          {"model_fingerprint", checkpoint.model_fingerprint}};
}

AttributeMap version_attributes(const Checkpoint& checkpoint) {
  return {checkpoint.versions.begin(), checkpoint.versions.end()};
}

void check_writable(const Checkpoint& checkpoint, const std::string& place) {
  const Rotations& rotations = checkpoint.rotations;
  check(rotations.r1.defined() && rotations.r1.dim() == 2 && !rotations.r2.empty() &&
            rotations.r2[0].defined() && rotations.r2[0].dim() == 2,
        "{}: a checkpoint needs R1 and an R2 for every layer", place);
  const auto check_shapes = [&](const Rotations& matrices, const std::string& what) {
    check_rotation_shapes(matrices, rotations.r1.size(0), std::ssize(rotations.r2), rotations.r2[0].size(0),
                          what);
  };
  check_shapes(rotations, place);
  if (checkpoint.momentum) check_shapes(*checkpoint.momentum, place + ": momentum");
}

/// Writes one dataset with its digest, which is also noted in `objects`.
void write_matrices(const Hdf5Id& parent, const std::string& folder, const std::string& name,
                    const at::Tensor& value, const std::string& place, ObjectAttributes& objects) {
  const at::Tensor data = value.to(at::kCPU).contiguous();
  const Hdf5Id dataset =
      write_floats(parent, name, data.const_data_ptr<float>(), data.sizes().vec(), place + ": " + folder);
  const std::string digest = sha256_hex(data.const_data_ptr(), data.nbytes());
  write_attribute(dataset, "sha256", digest, place);
  objects[folder + name] = {{"sha256", digest}};
}

void write_rotations(const Hdf5Id& parent, const std::string& folder, const Rotations& rotations,
                     const std::string& place, ObjectAttributes& objects) {
  write_matrices(parent, folder, "R1", rotations.r1, place, objects);
  write_matrices(parent, folder, "R2", at::stack(rotations.r2), place, objects);
}

void write_attributes(const Hdf5Id& object, const AttributeMap& attributes, const std::string& place) {
  for (const auto& [name, value] : attributes) write_attribute(object, name, value, place);
}

/// Reads one dataset of a known shape and checks its digest, which is also noted in `objects`.
at::Tensor read_matrices(const Hdf5Object& parent, const std::string& folder, const std::string& name,
                         const std::vector<int64_t>& shape, ObjectAttributes& objects) {
  const std::string place = fmt::format("{}: {}{}", parent.file().path(), folder, name);
  const Hdf5Dataset dataset(parent, name, ElementType::kFloat32);
  const DatasetLayout& layout = dataset.layout();
  check(layout.shape == shape, "{}: shape {}, expected {}", place, shape_text(layout.shape),
        shape_text(shape));
  check(layout.has_fletcher32 && !layout.chunk.empty(), "{}: has no Fletcher32 checksums", place);
  at::Tensor values = at::empty(shape, at::TensorOptions(at::kFloat));
  check(dataset.read_rows(0, shape[0], values.mutable_data_ptr()), "{}: damaged (its numbers cannot be read)",
        place);
  const AttributeMap& attributes = objects[folder + name] = dataset.attributes();
  check(text_attribute(attributes, "sha256", place) == sha256_hex(values.const_data_ptr(), values.nbytes()),
        "{}: damaged: its SHA-256 is not the one it was written with", place);
  return values;
}

Rotations read_rotation_set(const Hdf5Object& parent, const std::string& folder, const AttributeMap& root,
                            const std::string& file, ObjectAttributes& objects) {
  const int64_t hidden_size = int_attribute(root, "hidden_size", file);
  const int64_t num_layers = int_attribute(root, "num_layers", file);
  const int64_t head_dim = int_attribute(root, "head_dim", file);
  Rotations rotations;
  rotations.r1 = read_matrices(parent, folder, "R1", {hidden_size, hidden_size}, objects);
  const at::Tensor r2 = read_matrices(parent, folder, "R2", {num_layers, head_dim, head_dim}, objects);
  for (int64_t i = 0; i < num_layers; ++i) rotations.r2.push_back(r2.select(0, i).clone());
  check_rotation_shapes(rotations, hidden_size, num_layers, head_dim, file + ": " + folder);
  return rotations;
}

/// Error unless the attribute is between `low` and `high`.
int64_t bounded(const AttributeMap& root, const std::string& name, int64_t low, int64_t high,
                const std::string& file) {
  const int64_t value = int_attribute(root, name, file);
  check(low <= value && value <= high, "{}: attribute '{}' is {}, expected {} to {}", file, name, value, low,
        high);
  return value;
}

void check_kind(const AttributeMap& root, const std::string& file) {
  check(text_attribute(root, "format", file) == kFormat, "{}: attribute 'format' is '{}', expected '{}'",
        file, shown(text_attribute(root, "format", file)), kFormat);
  const int64_t version = int_attribute(root, "version", file);
  check(version == kVersion, "{}: checkpoint version {}, this program reads {}", file, version, kVersion);
}

/// The sizes are believed by everything after: no allocation may follow from a damaged one.
void check_sizes(const AttributeMap& root, const std::string& file) {
  constexpr int64_t kMaxSize = int64_t{1} << 20;
  const int64_t hidden_size = bounded(root, "hidden_size", 1, kMaxSize, file);
  const int64_t num_layers = bounded(root, "num_layers", 1, kMaxSize, file);
  const int64_t head_dim = bounded(root, "head_dim", 1, kMaxSize, file);
  // Chunks are not compressed, so a true size cannot exceed the file's.
  std::error_code ignored;
  const auto file_bytes = std::filesystem::file_size(file, ignored);
  const int64_t limit = std::min(kMaxElements, static_cast<int64_t>(file_bytes / sizeof(float)));
  check(!ignored && hidden_size * hidden_size <= limit && head_dim * head_dim <= limit / num_layers,
        "{}: hidden_size {}, num_layers {}, head_dim {} do not fit into a file of {} bytes", file,
        hidden_size, num_layers, head_dim, file_bytes);
}

void fill_state(Checkpoint& checkpoint, const AttributeMap& root, const std::string& file) {
  constexpr int64_t kMaxCount = std::numeric_limits<int64_t>::max();
  checkpoint.step = bounded(root, "step", 0, kMaxCount, file);
  checkpoint.next_sequence = bounded(root, "next_sequence", 0, kMaxCount, file);
  checkpoint.seed = int_attribute(root, "seed", file);
  checkpoint.world_size =
      static_cast<int>(bounded(root, "world_size", 1, std::numeric_limits<int>::max(), file));
  checkpoint.config_yaml = text_attribute(root, "config_yaml", file);
  checkpoint.model_fingerprint = text_attribute(root, "model_fingerprint", file);
}

}  // namespace

std::string checkpoint_image(const Checkpoint& checkpoint, const std::filesystem::path& path) {
  const Hdf5Silence silence;
  const std::string place = path.string();
  check_writable(checkpoint, place);
  ObjectAttributes objects{{"/", root_attributes(checkpoint)}, {"/versions", version_attributes(checkpoint)}};
  const Hdf5Id root = create_hdf5(kSealSize, place);
  write_rotations(root, "/", checkpoint.rotations, place, objects);
  if (checkpoint.momentum) {
    const Hdf5Id group = create_group(root, "momentum", place);
    write_rotations(group, "/momentum/", *checkpoint.momentum, place, objects);
  }
  write_attributes(create_group(root, "versions", place), objects["/versions"], place);
  objects["/"][kAttributeDigest] = attribute_digest(objects);
  write_attributes(root, objects["/"], place);
  return hdf5_image(root, kSealSize, place);
}

Checkpoint read_checkpoint_hdf5(const std::filesystem::path& path) {
  const std::string file = path.string();
  const Hdf5File bytes(path);
  const Hdf5Object root(bytes, bytes.root_address(), file);
  ObjectAttributes objects{{"/", root.attributes()}};
  const AttributeMap root_values = objects["/"];
  check_kind(root_values, file);
  check_sizes(root_values, file);
  Checkpoint checkpoint;
  checkpoint.rotations = read_rotation_set(root, "/", root_values, file, objects);
  if (bounded(root_values, "has_momentum", 0, 1, file) == 1) {
    const Hdf5Object group = open_group(root, "momentum");
    checkpoint.momentum = read_rotation_set(group, "/momentum/", root_values, file, objects);
  }
  objects["/versions"] = open_group(root, "versions").attributes();
  for (const auto& [name, value] : objects["/versions"]) {
    checkpoint.versions[name] = text_attribute(objects["/versions"], name, file + ": /versions");
  }
  fill_state(checkpoint, root_values, file);
  check(text_attribute(root_values, kAttributeDigest, file) == attribute_digest(objects),
        "{}: damaged: the SHA-256 of its attributes is not the one it was written with", file);
  check_orthogonal(checkpoint.rotations, file);
  return checkpoint;
}

}  // namespace spq::data
