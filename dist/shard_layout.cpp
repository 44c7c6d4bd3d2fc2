#include "dist/shard_layout.h"

#include <ATen/ops/from_blob.h>

#include <algorithm>

#include "dist/arguments.h"

namespace spq::dist {

namespace {

constexpr int64_t kPage = 4096;

int64_t rounded_up(int64_t num_bytes) {
  return (num_bytes + kPage - 1) / kPage * kPage;
}

std::vector<int64_t> whole_sizes(const Shard& shard) {
  std::vector<int64_t> sizes = shard.rows.sizes().vec();
  sizes.at(0) = shard.partition.num_rows();
  return sizes;
}

int64_t matrix_bytes(const Shard& shard) {
  int64_t num_bytes = static_cast<int64_t>(shard.rows.element_size());
  for (const int64_t size : whole_sizes(shard)) num_bytes *= size;
  return num_bytes;
}

}  // namespace

int64_t whole_bytes(const ShardUnit& unit) {
  int64_t total = 0;
  for (const Shard& shard : unit) total += rounded_up(matrix_bytes(shard));
  return total;
}

std::array<int64_t, 2> slot_bytes(std::span<const ShardUnit> units) {
  std::array<int64_t, 2> largest{};
  for (size_t u = 0; u < units.size(); ++u) largest[u % 2] = std::max(largest[u % 2], whole_bytes(units[u]));
  return largest;
}

std::vector<at::Tensor> whole_views(std::byte* begin, const ShardUnit& unit) {
  std::vector<at::Tensor> views;
  for (const Shard& shard : unit) {
    views.push_back(at::from_blob(begin, whole_sizes(shard), shard.rows.options()));
    begin += rounded_up(matrix_bytes(shard));
  }
  return views;
}

std::vector<WholeMatrix> whole_matrices(const ShardUnit& unit) {
  std::vector<WholeMatrix> matrices;
  for (const Shard& shard : unit) matrices.push_back({whole_sizes(shard), shard.rows.scalar_type()});
  return matrices;
}

std::vector<at::Tensor> whole_views(const at::Tensor& memory, std::span<const WholeMatrix> matrices) {
  std::vector<at::Tensor> views;
  int64_t begin = 0;
  for (const WholeMatrix& matrix : matrices) {
    int64_t num_bytes = static_cast<int64_t>(c10::elementSize(matrix.dtype));
    for (const int64_t size : matrix.sizes) num_bytes *= size;
    views.push_back(memory.narrow(0, begin, num_bytes).view(matrix.dtype).view(matrix.sizes));
    begin += rounded_up(num_bytes);
  }
  return views;
}

std::vector<std::vector<at::Tensor>> move_into(
    std::byte* begin, std::vector<ShardUnit>& units, int rank,
    const std::function<void(const at::Tensor& rows)>& before_copy) {
  std::vector<std::vector<at::Tensor>> wholes;
  for (ShardUnit& unit : units) {
    wholes.push_back(whole_views(begin, unit));
    begin += whole_bytes(unit);
    for (size_t i = 0; i < unit.size(); ++i) {
      const at::Tensor place = own_rows(wholes.back()[i], unit[i].partition, rank);
      if (before_copy) before_copy(place);
      copy_bytes(unit[i].rows, place);
      unit[i].rows.reset();
    }
  }
  return wholes;
}

at::Tensor own_rows(const at::Tensor& whole, const RowPartition& partition, int rank) {
  return whole.narrow(0, partition.begin(rank), partition.count(rank));
}

}  // namespace spq::dist
