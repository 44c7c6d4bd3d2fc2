// One matrix going through GPTQ or GPTAQ: the loop over panels, blocks and tiles. Inside ptq/gptq.cpp only.
#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <vector>

#include "ptq/gptq.h"
#include "ptq/hessian.h"
#include "ptq/weight_quantizer.h"

namespace spq::ptq {

/// Works on the transposed matrix, columns in the order of quantization, three levels deep: a panel of
/// columns gets the errors of all columns before it in one product, a block those of its panel, and the rows
/// of a block, which are independent, go through it a tile at a time.
class GptqSolver {
 public:
  /// Rows worked on together: a column of a tile is a few vector registers, a tile of 128 columns fits the
  /// caches next to the core.
  static constexpr int64_t kTileRows = 32;

  /// weight fp32 [columns, rows], dead columns 0, kept and overwritten. params: ranges that are known before
  /// the first column, and room for the others. group_of: each column's group.
  GptqSolver(at::Tensor weight, const HessianFactor& factor, QuantParams params,
             std::vector<int64_t> group_of, const WeightQuantSpec& spec, const GptqOptions& options);
  void run();
  const at::Tensor& codes() const { return codes_; }          // code_dtype(spec) [columns, rows]
  const at::Tensor& quantized() const { return quantized_; }  // fp32 [columns, rows]
  const QuantParams& params() const { return params_; }

 private:
  using TileColumn = std::array<float, kTileRows>;
  // Columns begin..end, worked on tile by tile. A group that begins among them ends before reach.
  struct Block {
    int64_t begin, end, reach;
    at::Tensor feedback, correction;  // of columns begin..reach, transposed
  };
  // Rows first..first + count of a block.
  struct Tile {
    explicit Tile(const Block& block);
    int64_t first = 0, count = 0;
    // Columns begin..reach. value: w plus what columns k < `from` of process_tile add to it; w - q once it
    // is quantized. shift: from w to the value that minimises the loss while all columns of a group are free.
    std::vector<TileColumn> given, value, shift;
    std::vector<TileColumn> current, quantized, codes;  // v, q and integers of columns begin..end
  };
  // Scales and the bounds of code - zero of the tile's rows in one group.
  struct TileParams {
    int64_t group = -1;
    TileColumn scale, zero, low, high;
  };

  int64_t panel_columns() const;
  void run_panel(int64_t begin, int64_t end);
  Block make_block(int64_t begin, int64_t panel_end) const;
  void add_feedback(int64_t from, int64_t to, int64_t begin, int64_t end);
  void process_tile(const Block& block, Tile& tile);
  void load(const Block& block, Tile& tile) const;
  static void add_columns(TileColumn& sum, const TileColumn* columns, const float* factors, int64_t n,
                          float sign);
  void accumulate(const Block& block, Tile& tile, int64_t column, int64_t from, int64_t to) const;
  void find_shifts(const Block& block, Tile& tile, int64_t from, int64_t to) const;
  void find_group(const Block& block, const Tile& tile, int64_t column);
  void select_group(const Tile& tile, int64_t group, TileParams& p) const;
  void quantize_column(Tile& tile, size_t column, const TileParams& p) const;
  void store(const Block& block, const Tile& tile);
  template <class Code>
  void store_codes(const Block& block, const Tile& tile);

  const HessianFactor& factor_;
  QuantParams params_;
  std::vector<int64_t> group_of_;
  WeightQuantSpec spec_;
  GptqOptions options_;
  int64_t columns_, rows_;
  bool dynamic_groups_;
  bool adaptive_ranges_;  // of groups whose ranges come from all columns before them
  at::Tensor work_;     // fp32: w - q of columns that are quantized, w of those to come; in the panel at work
                        // w plus what the columns before the block add to it
  at::Tensor given_;    // w of the panel at work
  at::Tensor current_;  // fp32 v; GPTAQ only
  at::Tensor quantized_;  // fp32 q
  at::Tensor codes_;      // code_dtype
  int64_t panel_begin_ = 0;
};

}  // namespace spq::ptq
