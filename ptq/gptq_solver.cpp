#include "ptq/gptq_solver.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include <algorithm>

#include "kernels/isa.h"
#include "kernels/round_even.h"
#include "model/rows.h"

namespace spq::ptq {
namespace {

// Columns that get the errors of all columns before them in one product: wide enough for full speed.
constexpr int64_t kPanel = 512;

// A constant count is a few vector moves instead of a call.
inline void copy_rows(const float* from, float* to, int64_t count) {
  if (count == GptqSolver::kTileRows) {
    std::copy_n(from, GptqSolver::kTileRows, to);
  } else {
    std::copy_n(from, count, to);
  }
}

}  // namespace

GptqSolver::GptqSolver(at::Tensor weight, const HessianFactor& factor, QuantParams params,
                       std::vector<int64_t> group_of, const WeightQuantSpec& spec, const GptqOptions& options)
    : factor_(factor),
      params_(std::move(params)),
      group_of_(std::move(group_of)),
      spec_(spec),
      options_(options),
      columns_(weight.size(0)),
      rows_(weight.size(1)),
      dynamic_groups_(spec.group_size > 0 && !options.static_groups),
      adaptive_ranges_(dynamic_groups_ && !options.reference_group_scales),
      work_(std::move(weight)),
      quantized_(at::empty_like(work_)),
      codes_(at::empty({columns_, rows_}, code_dtype(spec))) {
  if (factor.correction.defined()) current_ = at::empty_like(work_);
}

// Whole groups, so that the weights of a group are all in the panel in which it begins. The published group
// ranges depend on where blocks begin: there panels must not cut blocks short.
int64_t GptqSolver::panel_columns() const {
  if (dynamic_groups_ && options_.reference_group_scales) return columns_;
  const int64_t least = std::max(kPanel, options_.block_size);
  const int64_t unit = adaptive_ranges_ ? spec_.group_size : 1;
  return std::min(columns_, (least + unit - 1) / unit * unit);
}

void GptqSolver::run() {
  const int64_t length = panel_columns();
  given_ = at::empty({length, rows_});
  for (int64_t begin = 0; begin < columns_; begin += length) {
    const int64_t end = std::min(begin + length, columns_);
    panel_begin_ = begin;
    given_.narrow(0, 0, end - begin).copy_(work_.narrow(0, begin, end - begin));
    if (begin > 0) add_feedback(0, begin, begin, end);
    run_panel(begin, end);
  }
}

void GptqSolver::run_panel(int64_t begin, int64_t end) {
  while (begin < end) {
    const Block block = make_block(begin, end);
    const int64_t width = block.end - block.begin;
    model::for_rows((rows_ + kTileRows - 1) / kTileRows, kTileRows * width * width,
                    [&](int64_t first, int64_t last) {
                      Tile tile(block);
                      for (int64_t t = first; t < last; ++t) {
                        tile.first = t * kTileRows;
                        tile.count = std::min(kTileRows, rows_ - tile.first);
                        process_tile(block, tile);
                      }
                    });
    if (block.end < end) add_feedback(block.begin, block.end, block.end, end);
    begin = block.end;
  }
}

// Adds to the columns begin..end what the columns from..to, all quantized, do to them.
void GptqSolver::add_feedback(int64_t from, int64_t to, int64_t begin, int64_t end) {
  const auto part = [&](const at::Tensor& m) {
    return m.narrow(0, from, to - from).narrow(1, begin, end - begin).t();
  };
  at::Tensor columns = work_.narrow(0, begin, end - begin);
  columns.addmm_(part(factor_.feedback), work_.narrow(0, from, to - from));
  if (current_.defined()) columns.addmm_(part(factor_.correction), current_.narrow(0, from, to - from));
}

GptqSolver::Block GptqSolver::make_block(int64_t begin, int64_t panel_end) const {
  const int64_t size = spec_.group_size;
  Block block{begin, std::min(begin + options_.block_size, panel_end), 0, {}, {}};
  if (adaptive_ranges_) {
    // A group must begin with up-to-date weights: a block ends early where a group would begin inside it and
    // reach beyond it.
    const int64_t last_group = (block.end - 1) / size * size;
    if (last_group > begin && last_group + size > block.end) block.end = last_group;
  }
  block.reach = dynamic_groups_ ? (block.end + size - 1) / size * size : block.end;
  const auto part = [&](const at::Tensor& m) {
    const int64_t length = block.reach - begin;
    return m.narrow(0, begin, length).narrow(1, begin, length).t().contiguous();
  };
  block.feedback = part(factor_.feedback);
  if (current_.defined()) block.correction = part(factor_.correction);
  return block;
}

GptqSolver::Tile::Tile(const Block& block) {
  const auto length = static_cast<size_t>(block.end - block.begin);
  const auto reach = static_cast<size_t>(block.reach - block.begin);
  // What rows beyond the matrix hold is never stored, but finite.
  for (auto* columns : {&given, &value, &shift}) columns->assign(reach, TileColumn{});
  for (auto* columns : {&current, &quantized, &codes}) columns->assign(length, TileColumn{});
}

// Places are counted from the block's begin from here on.
void GptqSolver::process_tile(const Block& block, Tile& tile) {
  load(block, tile);
  const int64_t length = block.end - block.begin;
  const int64_t group = dynamic_groups_ ? spec_.group_size : columns_;
  if (dynamic_groups_ && !adaptive_ranges_) find_shifts(block, tile, 0, block.reach - block.begin);
  TileParams p;
  int64_t from = 0;  // what columns before it add is in the values from here on
  for (int64_t k = 0; k < length; ++k) {
    if (dynamic_groups_ && (block.begin + k) % group == 0) {
      if (adaptive_ranges_) {
        for (int64_t i = k; i < k + group; ++i) accumulate(block, tile, i, 0, k);
        find_shifts(block, tile, k, k + group);
        from = k;
      }
      find_group(block, tile, k);
    }
    accumulate(block, tile, k, from, k);
    select_group(tile, group_of_[static_cast<size_t>(block.begin + k)], p);
    quantize_column(tile, static_cast<size_t>(k), p);
  }
  store(block, tile);
}

void GptqSolver::load(const Block& block, Tile& tile) const {
  for (size_t k = 0; k < tile.value.size(); ++k) {
    const int64_t column = block.begin + static_cast<int64_t>(k);
    const float* value = work_.const_data_ptr<float>() + column * rows_ + tile.first;
    const float* given = given_.const_data_ptr<float>() + (column - panel_begin_) * rows_ + tile.first;
    copy_rows(value, tile.value[k].data(), tile.count);
    copy_rows(given, tile.given[k].data(), tile.count);
  }
}

// sum += sign * sum over k < n of factors[k] columns[k]
void GptqSolver::add_columns(TileColumn& sum, const TileColumn* columns, const float* factors, int64_t n,
                             float sign) {
  kernels::run_vectorised([&] {
    TileColumn total = sum;
    for (int64_t k = 0; k < n; ++k) {
      const float factor = sign * factors[k];
      for (size_t r = 0; r < kTileRows; ++r) total[r] += factor * columns[k][r];
    }
    sum = total;
  });
}

void GptqSolver::accumulate(const Block& block, Tile& tile, int64_t column, int64_t from, int64_t to) const {
  const auto first = static_cast<size_t>(from);
  TileColumn& sum = tile.value[static_cast<size_t>(column)];
  const int64_t at = column * (block.reach - block.begin) + from;
  add_columns(sum, &tile.value[first], block.feedback.const_data_ptr<float>() + at, to - from, 1);
  if (!current_.defined()) return;
  add_columns(sum, &tile.current[first], block.correction.const_data_ptr<float>() + at, to - from, 1);
}

// With the columns before `from` fixed, the loss over the others is least at w + shift, where
// shift R = (value - w) diag(R) on them: a forward substitution.
void GptqSolver::find_shifts(const Block& block, Tile& tile, int64_t from, int64_t to) const {
  const float* feedback = block.feedback.const_data_ptr<float>();
  const auto first = static_cast<size_t>(from);
  for (size_t k = first; k < static_cast<size_t>(to); ++k) {
    for (size_t r = 0; r < kTileRows; ++r) tile.shift[k][r] = tile.value[k][r] - tile.given[k][r];
    add_columns(tile.shift[k], &tile.shift[first], feedback + k * tile.value.size() + first,
                static_cast<int64_t>(k - first), -1);
  }
}

void GptqSolver::find_group(const Block& block, const Tile& tile, int64_t column) {
  const int64_t group = group_of_[static_cast<size_t>(block.begin + column)];
  const int64_t groups = params_.scale.size(1);
  float* scale = params_.scale.mutable_data_ptr<float>();
  float* zero = params_.zero.mutable_data_ptr<float>();
  std::vector<float> values(static_cast<size_t>(spec_.group_size));
  for (int64_t r = 0; r < tile.count; ++r) {
    const auto row = static_cast<size_t>(r);
    for (size_t i = 0; i < values.size(); ++i) {
      const size_t k = static_cast<size_t>(column) + i;
      values[i] = tile.given[k][row] + tile.shift[k][row];
    }
    const GroupParams found = find_group_params(values.data(), spec_.group_size, spec_);
    scale[(tile.first + r) * groups + group] = found.scale;
    zero[(tile.first + r) * groups + group] = found.zero;
  }
}

void GptqSolver::select_group(const Tile& tile, int64_t group, TileParams& p) const {
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

void GptqSolver::quantize_column(Tile& tile, size_t column, const TileParams& p) const {
  TileColumn& value = tile.value[column];
  const TileColumn& given = tile.given[column];
  TileColumn& quantized = tile.quantized[column];
  TileColumn& codes = tile.codes[column];
  tile.current[column] = value;
  for (size_t r = 0; r < kTileRows; ++r) {
    const float v = value[r] / p.scale[r];
    const float above = v < p.low[r] ? p.low[r] : v;
    const float level = kernels::round_even(above > p.high[r] ? p.high[r] : above);
    codes[r] = level + p.zero[r];
    quantized[r] = p.scale[r] * level;
    value[r] = given[r] - quantized[r];
  }
}

void GptqSolver::store(const Block& block, const Tile& tile) {
  const auto copy = [&](const std::vector<TileColumn>& columns, const at::Tensor& to) {
    for (size_t k = 0; k < tile.codes.size(); ++k) {
      const int64_t at = (block.begin + static_cast<int64_t>(k)) * rows_ + tile.first;
      copy_rows(columns[k].data(), to.mutable_data_ptr<float>() + at, tile.count);
    }
  };
  copy(tile.value, work_);
  copy(tile.quantized, quantized_);
  if (current_.defined()) copy(tile.current, current_);
  if (codes_.scalar_type() == at::kChar) {
    store_codes<int8_t>(block, tile);
  } else {
    store_codes<int16_t>(block, tile);
  }
}

template <class Code>
void GptqSolver::store_codes(const Block& block, const Tile& tile) {
  for (size_t k = 0; k < tile.codes.size(); ++k) {
    const int64_t at = (block.begin + static_cast<int64_t>(k)) * rows_ + tile.first;
    Code* codes = codes_.mutable_data_ptr<Code>() + at;
    for (int64_t r = 0; r < tile.count; ++r) {
      codes[r] = static_cast<Code>(static_cast<int32_t>(tile.codes[k][static_cast<size_t>(r)]));
    }
  }
}

}  // namespace spq::ptq
