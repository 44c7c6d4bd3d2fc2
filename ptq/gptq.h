// GPTQ (arXiv 2210.17323) and GPTAQ (ICML 2025): rounds a weight column by column and lets the columns that
// are still free make up for the error, in the metric of the calibration inputs.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string_view>

#include "ptq/hessian.h"
#include "ptq/weight_quantizer.h"

namespace spq::ptq {

struct GptqOptions {
  int64_t block_size = 128;    // columns between two trailing updates; speed only, except as below
  bool static_groups = false;  // ranges of all groups from the weights as given, not as updated
  /// Parity with the published code: a group's range comes from the weights as they stood at the start of
  /// the block in which the group begins, so results depend on block_size. Default: from the weights as
  /// updated by every column before the group.
  bool reference_group_scales = false;
};

/// codes, scales and zeros are consistent with `weight`:
/// weight == dequantize(quantized, group_index, dtype of the weight given), bit for bit.
struct GptqResult {
  QuantizedWeight quantized;
  at::Tensor group_index;  // int64 [columns]: each column's group. With act_order and without static_groups
                           // groups are neighbours in the order of quantization, not of columns
  at::Tensor weight;       // [rows, columns]
};

/// Quantizes `weight` [rows, columns] (float, bfloat16 or half) given the factor of its inputs' moments. Rows
/// are independent: any subset of them, also none, gives its part of the whole (up to the summation order of
/// matrix products). Weights of dead columns are set to 0: before group ranges are found, after ranges of
/// whole rows are. Throws Error naming `name` as find_params does, for a block_size below 1 and for a factor
/// of another number of columns.
GptqResult quantize_gptq(const at::Tensor& weight, const HessianFactor& factor, const WeightQuantSpec& spec,
                         const GptqOptions& options, std::string_view name);

}  // namespace spq::ptq
