#include "ptq/gptq.h"

#include <ATen/Parallel.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <array>
#include <vector>

#include "core/error.h"

namespace spq::ptq {
namespace {

// Rows worked on together: a column of a tile is a few vector registers, a tile of 128 columns fits the
// first-level cache.
constexpr int64_t kTileRows = 32;
using TileColumn = std::array<float, kTileRows>;

inline float round_even(float v) {
  return (v + 12582912.0f) - 12582912.0f;  // exact below 2^22, and it vectorises
}

// One matrix being quantized. Columns are in the order of quantization.
class Solver {
 public:
  Solver(at::Tensor weight, const HessianFactor& factor, QuantParams params, std::vector<int64_t> group_of,
         const WeightQuantSpec& spec, const GptqOptions& options);
  void run();
  const at::Tensor& codes() const { return codes_; }
  const QuantParams& params() const { return params_; }

 private:
  // Columns begin..end of rows first..first + count, column by column.
  struct Tile {
    int64_t begin, end, first, count;
    std::vector<TileColumn> weights;
    std::vector<TileColumn> codes;
  };
  // Scales and the bounds of code - zero of the tile's rows in one group.
  struct TileParams {
    int64_t group = -1;
    TileColumn scale, zero, low, high;
  };

  int64_t block_end(int64_t begin) const;
  void process_tile(Tile& tile);
  void load(Tile& tile) const;
  void find_group(const Tile& tile, int64_t column);
  void select_group(const Tile& tile, int64_t group, TileParams& p) const;
  void quantize_column(Tile& tile, int64_t column, const TileParams& p, TileColumn& error) const;
  void update_tile(Tile& tile, int64_t column, const TileColumn& error) const;
  void keep(const Tile& tile, int64_t column, const TileColumn& error);
  void store_codes(const Tile& tile);
  void update_trailing(int64_t begin, int64_t end);

  at::Tensor weight_;  // fp32 [rows, columns]; columns of the current block are as at its start
  const HessianFactor& factor_;
  QuantParams params_;
  std::vector<int64_t> group_of_;
  WeightQuantSpec spec_;
  GptqOptions options_;
  int64_t rows_, columns_;
  bool dynamic_groups_;
  at::Tensor codes_;    // int16 [rows, columns]
  at::Tensor errors_;   // fp32 [block, rows]: (w - q) / U_jj
  at::Tensor current_;  // fp32 [block, rows]: w when it was quantized; GPTAQ only
};

Solver::Solver(at::Tensor weight, const HessianFactor& factor, QuantParams params,
               std::vector<int64_t> group_of, const WeightQuantSpec& spec, const GptqOptions& options)
    : weight_(std::move(weight)),
      factor_(factor),
      params_(std::move(params)),
      group_of_(std::move(group_of)),
      spec_(spec),
      options_(options),
      rows_(weight_.size(0)),
      columns_(weight_.size(1)),
      dynamic_groups_(spec.group_size > 0 && !options.static_groups) {
  const int64_t block = std::min(options.block_size, columns_);
  codes_ = at::empty({rows_, columns_}, at::kShort);
  errors_ = at::empty({block, rows_});
  if (factor.correction.defined()) current_ = at::empty({block, rows_});
}

void Solver::run() {
  for (int64_t begin = 0; begin < columns_;) {
    const int64_t end = block_end(begin);
    at::parallel_for(0, (rows_ + kTileRows - 1) / kTileRows, 1, [&](int64_t first, int64_t last) {
      Tile tile{begin, end, 0, 0, std::vector<TileColumn>(static_cast<size_t>(end - begin)), {}};
      tile.codes.resize(tile.weights.size());
      for (int64_t t = first; t < last; ++t) {
        tile.first = t * kTileRows;
        tile.count = std::min(kTileRows, rows_ - tile.first);
        process_tile(tile);
      }
    });
    if (end < columns_) update_trailing(begin, end);
    begin = end;
  }
}

// A group must begin with up-to-date weights: a block ends early where a group would begin inside it and
// reach beyond it.
int64_t Solver::block_end(int64_t begin) const {
  const int64_t end = std::min(begin + options_.block_size, columns_);
  if (!dynamic_groups_ || options_.reference_group_scales) return end;
  const int64_t last_group = (end - 1) / spec_.group_size * spec_.group_size;
  return last_group > begin && last_group + spec_.group_size > end ? last_group : end;
}

void Solver::process_tile(Tile& tile) {
  load(tile);
  TileParams p;
  TileColumn error;
  for (int64_t column = tile.begin; column < tile.end; ++column) {
    if (dynamic_groups_ && column % spec_.group_size == 0) find_group(tile, column);
    select_group(tile, group_of_[static_cast<size_t>(column)], p);
    quantize_column(tile, column, p, error);
    keep(tile, column, error);
    update_tile(tile, column, error);
  }
  store_codes(tile);
}

void Solver::load(Tile& tile) const {
  const float* w = weight_.const_data_ptr<float>();
  for (size_t k = 0; k < tile.weights.size(); ++k) tile.weights[k].fill(0);
  for (int64_t r = 0; r < tile.count; ++r) {
    const float* row = w + (tile.first + r) * columns_ + tile.begin;
    for (size_t k = 0; k < tile.weights.size(); ++k) tile.weights[k][static_cast<size_t>(r)] = row[k];
  }
}

void Solver::find_group(const Tile& tile, int64_t column) {
  const int64_t group = group_of_[static_cast<size_t>(column)];
  const int64_t groups = params_.scale.size(1);
  const float* w = weight_.const_data_ptr<float>();
  float* scale = params_.scale.mutable_data_ptr<float>();
  float* zero = params_.zero.mutable_data_ptr<float>();
  std::vector<float> values(static_cast<size_t>(spec_.group_size));
  for (int64_t r = 0; r < tile.count; ++r) {
    const float* row = w + (tile.first + r) * columns_;
    for (int64_t i = 0; i < spec_.group_size; ++i) {
      const int64_t c = column + i;
      const bool in_tile = c < tile.end && !options_.reference_group_scales;
      values[static_cast<size_t>(i)] =
          in_tile ? tile.weights[static_cast<size_t>(c - tile.begin)][static_cast<size_t>(r)] : row[c];
    }
    const GroupParams found = find_group_params(values.data(), spec_.group_size, spec_);
    scale[(tile.first + r) * groups + group] = found.scale;
    zero[(tile.first + r) * groups + group] = found.zero;
  }
}

void Solver::select_group(const Tile& tile, int64_t group, TileParams& p) const {
  if (p.group == group) return;
  p.group = group;
  const int64_t groups = params_.scale.size(1);
  const float* scale = params_.scale.const_data_ptr<float>();
  const float* zero = params_.zero.const_data_ptr<float>();
  const CodeRange range = code_range(spec_);
  for (int64_t r = 0; r < kTileRows; ++r) {
    const auto i = static_cast<size_t>(r);
    const int64_t at = (tile.first + r) * groups + group;
    p.scale[i] = r < tile.count ? scale[at] : 1.0f;
    p.zero[i] = r < tile.count ? zero[at] : 0.0f;
    p.low[i] = static_cast<float>(range.low) - p.zero[i];
    p.high[i] = static_cast<float>(range.high) - p.zero[i];
  }
}

void Solver::quantize_column(Tile& tile, int64_t column, const TileParams& p, TileColumn& error) const {
  const auto k = static_cast<size_t>(column - tile.begin);
  const float pivot = factor_.upper.const_data_ptr<float>()[column * columns_ + column];
  const TileColumn& w = tile.weights[k];
  TileColumn& codes = tile.codes[k];
  for (size_t r = 0; r < kTileRows; ++r) {
    const float v = w[r] / p.scale[r];
    const float above = v < p.low[r] ? p.low[r] : v;
    const float level = round_even(above > p.high[r] ? p.high[r] : above);
    codes[r] = level + p.zero[r];
    error[r] = (w[r] - p.scale[r] * level) / pivot;
  }
}

void Solver::update_tile(Tile& tile, int64_t column, const TileColumn& error) const {
  const float* upper = factor_.upper.const_data_ptr<float>() + column * columns_;
  const TileColumn w = tile.weights[static_cast<size_t>(column - tile.begin)];
  for (int64_t c = column + 1; c < tile.end; ++c) {
    TileColumn& next = tile.weights[static_cast<size_t>(c - tile.begin)];
    for (size_t r = 0; r < kTileRows; ++r) next[r] -= error[r] * upper[c];
  }
  if (!factor_.correction.defined()) return;
  const float* correction = factor_.correction.const_data_ptr<float>() + column * columns_;
  for (int64_t c = column + 1; c < tile.end; ++c) {
    TileColumn& next = tile.weights[static_cast<size_t>(c - tile.begin)];
    for (size_t r = 0; r < kTileRows; ++r) next[r] += w[r] * correction[c];
  }
}

void Solver::keep(const Tile& tile, int64_t column, const TileColumn& error) {
  const int64_t at = (column - tile.begin) * rows_ + tile.first;
  std::copy_n(error.begin(), tile.count, errors_.mutable_data_ptr<float>() + at);
  if (!current_.defined()) return;
  const TileColumn& w = tile.weights[static_cast<size_t>(column - tile.begin)];
  std::copy_n(w.begin(), tile.count, current_.mutable_data_ptr<float>() + at);
}

void Solver::store_codes(const Tile& tile) {
  int16_t* codes = codes_.mutable_data_ptr<int16_t>();
  for (int64_t r = 0; r < tile.count; ++r) {
    int16_t* row = codes + (tile.first + r) * columns_ + tile.begin;
    for (size_t k = 0; k < tile.codes.size(); ++k) {
      row[k] = static_cast<int16_t>(static_cast<int32_t>(tile.codes[k][static_cast<size_t>(r)]));
    }
  }
}

void Solver::update_trailing(int64_t begin, int64_t end) {
  at::Tensor trailing = weight_.narrow(1, end, columns_ - end);
  const auto rest = [&](const at::Tensor& m) {
    return m.narrow(0, begin, end - begin).narrow(1, end, columns_ - end);
  };
  trailing.addmm_(errors_.narrow(0, 0, end - begin).t(), rest(factor_.upper), 1, -1);
  if (current_.defined()) {
    trailing.addmm_(current_.narrow(0, 0, end - begin).t(), rest(factor_.correction));
  }
}

// The group of each column, in the order of quantization.
std::vector<int64_t> groups_in_order(const HessianFactor& factor, const WeightQuantSpec& spec,
                                     bool static_groups, int64_t columns) {
  std::vector<int64_t> groups(static_cast<size_t>(columns), 0);
  if (spec.group_size < 0) return groups;
  const bool by_column = static_groups && factor.permutation.defined();
  for (int64_t k = 0; k < columns; ++k) {
    const int64_t column = by_column ? factor.permutation.const_data_ptr<int64_t>()[k] : k;
    groups[static_cast<size_t>(k)] = column / spec.group_size;
  }
  return groups;
}

// Ranges known before the first column; for other groups room to put them.
QuantParams initial_params(const at::Tensor& given, const at::Tensor& alive, const WeightQuantSpec& spec,
                           const GptqOptions& options, std::string_view name) {
  if (spec.group_size < 0) return find_params(given, spec, name);
  if (options.static_groups) return find_params(alive, spec, name);
  const int64_t groups = given.size(1) / spec.group_size;
  return {at::zeros({given.size(0), groups}), at::zeros({given.size(0), groups})};
}

}  // namespace

GptqResult quantize_gptq(const at::Tensor& weight, const HessianFactor& factor, const WeightQuantSpec& spec,
                         const GptqOptions& options, std::string_view name) {
  const at::Tensor given = finite_matrix(weight, name);
  const int64_t columns = given.size(1);
  check_spec(spec, columns, name);
  check(options.block_size >= 1, "{}: block size {}, expected 1 or more", name, options.block_size);
  check(factor.upper.size(0) == columns, "{}: {} columns, but calibration inputs of {}", name, columns,
        factor.upper.size(0));

  at::Tensor alive = given.masked_fill(factor.dead, 0);
  const QuantParams params = initial_params(given, alive, spec, options, name);
  const std::vector<int64_t> groups = groups_in_order(factor, spec, options.static_groups, columns);
  at::Tensor group_index = at::empty({columns}, at::kLong);
  std::copy(groups.begin(), groups.end(), group_index.mutable_data_ptr<int64_t>());

  if (factor.permutation.defined()) alive = alive.index_select(1, factor.permutation);
  Solver solver(alive, factor, params, groups, spec, options);
  solver.run();
  check_scales(solver.params().scale, spec, name);

  at::Tensor codes = solver.codes();
  if (factor.permutation.defined()) {
    const at::Tensor inverse = factor.permutation.argsort();
    codes = codes.index_select(1, inverse);
    group_index = group_index.index_select(0, inverse);
  }
  const QuantizedWeight quantized{codes.to(code_dtype(spec)), solver.params().scale.to(spec.scale_dtype),
                                  solver.params().zero};
  return {quantized, group_index, dequantize(quantized, group_index, weight.scalar_type())};
}

}  // namespace spq::ptq
