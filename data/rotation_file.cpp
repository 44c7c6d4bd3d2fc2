#include "data/rotation_file.h"

#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <string>
#include <string_view>

#include "core/error.h"
#include "data/atomic_file.h"
#include "data/checkpoint.h"
#include "data/rbin.h"
#include "data/rotation_check.h"
#include "data/sealed_file.h"
#include "data/shown_text.h"

namespace spq::data {
namespace {

constexpr std::string_view kZipMagic = "PK\x03\x04";

std::string r2_key(size_t layer) {
  return fmt::format("model.layers.{}.self_attn.R2", layer);
}

std::string first_bytes(const std::filesystem::path& path) {
  std::error_code ignored;
  check(!std::filesystem::is_directory(path, ignored), "{}: is a folder, expected a file of rotations",
        path.string());
  std::ifstream stream(path, std::ios::binary);
  check(stream.good(), "{}: cannot open ({})", path.string(), std::strerror(errno));
  std::string bytes(64, '\0');
  stream.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  bytes.resize(static_cast<size_t>(stream.gcount()));
  return bytes;
}

/// Takes `key` out of the table, as fp32.
at::Tensor take(TensorTable& table, const std::string& key, const std::string& place) {
  const auto found = table.find(key);
  check(found != table.end(), "{}: no tensor '{}'", place, key);
  check(at::isFloatingType(found->second.scalar_type()), "{}: '{}' holds {}, expected floating-point numbers",
        place, key, c10::toString(found->second.scalar_type()));
  at::Tensor matrix = found->second.to(at::kFloat).contiguous();
  table.erase(found);
  return matrix;
}

Rotations read_rbin(const std::filesystem::path& path, int64_t num_layers) {
  const std::string place = path.string();
  TensorTable table = read_tensor_table(path);
  Rotations rotations;
  rotations.r1 = take(table, "R1", place);
  for (int64_t i = 0; i < num_layers; ++i) {
    rotations.r2.push_back(take(table, r2_key(static_cast<size_t>(i)), place));
  }
  check(table.empty(), "{}: unexpected tensor '{}' (the model has {} layers)", place,
        table.empty() ? "" : shown(table.begin()->first), num_layers);
  return rotations;
}

}  // namespace

Rotations read_rotations(const std::filesystem::path& path, int64_t hidden_size, int64_t num_layers,
                         int64_t head_dim) {
  const std::string start = first_bytes(path);
  Rotations rotations;
  if (looks_sealed(start)) {
    rotations = read_checkpoint(path).rotations;
    check_rotation_shapes(rotations, hidden_size, num_layers, head_dim, path.string());
    return rotations;
  }
  check(start.starts_with(kZipMagic), "{}: neither a spq checkpoint nor an R.bin (torch archive)",
        path.string());
  rotations = read_rbin(path, num_layers);
  check_rotation_shapes(rotations, hidden_size, num_layers, head_dim, path.string());
  check_orthogonal(rotations, path.string());
  return rotations;
}

void write_rbin(const std::filesystem::path& path, const Rotations& rotations) {
  TensorTable table{{"R1", rotations.r1}};
  for (size_t i = 0; i < rotations.r2.size(); ++i) table.emplace(r2_key(i), rotations.r2[i]);
  write_text_atomically(path, tensor_table_bytes(table, path.string()));
}

}  // namespace spq::data
