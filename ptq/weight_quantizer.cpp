#include "ptq/weight_quantizer.h"

#include <ATen/ops/aminmax.h>
#include <ATen/ops/empty.h>
#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "kernels/round_even.h"
#include "model/rows.h"
#include "ptq/clip_search.h"

namespace spq::ptq {
namespace {

constexpr float kLeastRange = 1e-5f;
constexpr float kLargestZero = 2097152.0f;  // 2^21: keeps round_even exact
constexpr int64_t kLanes = 16;

float round_to(float v, at::ScalarType dtype) {
  if (dtype == at::kBFloat16) return static_cast<float>(c10::BFloat16(v));
  if (dtype == at::kHalf) return static_cast<float>(c10::Half(v));
  return v;
}

// The bounds of code - zero: clamping there needs no zero point in the loop.
struct Levels {
  float scale;
  float low;
  float high;
};

Levels levels_of(const GroupParams& p, const WeightQuantSpec& spec) {
  const CodeRange codes = code_range(spec);
  return {p.scale, static_cast<float>(codes.low) - p.zero, static_cast<float>(codes.high) - p.zero};
}

inline float nearest_level(float w, const Levels& l) {
  const float v = w / l.scale;
  const float above = v < l.low ? l.low : v;
  return kernels::round_even(above > l.high ? l.high : above);
}

struct Range {
  float low;
  float high;
};

// Least and largest value, in independent lanes as above.
Range extremes(const float* w, int64_t n) {
  float low[kLanes], high[kLanes];
  std::fill_n(low, kLanes, w[0]);
  std::fill_n(high, kLanes, w[0]);
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (int64_t j = 0; j < kLanes; ++j) {
      low[j] = w[i + j] < low[j] ? w[i + j] : low[j];
      high[j] = w[i + j] > high[j] ? w[i + j] : high[j];
    }
  }
  for (; i < n; ++i) {
    low[0] = std::min(low[0], w[i]);
    high[0] = std::max(high[0], w[i]);
  }
  return {*std::min_element(low, low + kLanes), *std::max_element(high, high + kLanes)};
}

Range find_range(const float* w, int64_t n, const WeightQuantSpec& spec) {
  Range r = extremes(w, n);
  if (spec.symmetric) {
    const float top = std::max({-r.low, r.high, kLeastRange});
    return {-top, top};
  }
  const float levels = static_cast<float>((1 << spec.bits) - 1);
  const float largest = std::max(std::abs(r.low), std::abs(r.high));
  const bool constant = r.high - r.low < std::max(kLeastRange, levels * largest / (0.5f * kLargestZero));
  if (spec.group_size < 0 || constant) r = {std::min(r.low, 0.0f), std::max(r.high, 0.0f)};
  if (r.low == 0 && r.high == 0) r = {-1, 1};
  return r;
}

GroupParams params_of(const Range& r, float width, const WeightQuantSpec& spec) {
  const float levels = static_cast<float>((1 << (spec.symmetric ? spec.bits - 1 : spec.bits)) - 1);
  const float scale = round_to(width / levels, spec.scale_dtype);
  return {scale, spec.symmetric ? 0.0f : std::nearbyint(-r.low / scale) + 0.0f};  // + 0: no negative zero
}

// Shrunken versions of the range `full`.
ClipCandidates clip_candidates(const Range& full, const WeightQuantSpec& spec) {
  ClipCandidates candidates;
  for (int i = 0; i < kClipSteps; ++i) {
    const float p = static_cast<float>(1.0 - i / 100.0);
    const Range r{p * full.low, p * full.high};
    const GroupParams params = params_of(r, spec.symmetric ? r.high : r.high - r.low, spec);
    const bool usable = params.scale > 0 && std::abs(params.zero) <= kLargestZero;
    candidates.scale[static_cast<size_t>(i)] = usable ? params.scale : 0.0f;
    candidates.zero[static_cast<size_t>(i)] = params.zero;
  }
  return candidates;
}

int64_t group_length(int64_t columns, const WeightQuantSpec& spec) {
  return spec.group_size > 0 ? spec.group_size : columns;
}

template <class Code>
void quantize_rows(const at::Tensor& w, const QuantParams& params, const WeightQuantSpec& spec,
                   const at::Tensor& codes) {
  const int64_t columns = w.size(1);
  const int64_t groups = params.scale.size(1);
  const int64_t length = columns / groups;
  const float* in = w.const_data_ptr<float>();
  const float* scale = params.scale.const_data_ptr<float>();
  const float* zero = params.zero.const_data_ptr<float>();
  Code* out = codes.mutable_data_ptr<Code>();
  model::for_rows(w.size(0) * groups, length, [&](int64_t begin, int64_t end) {
    for (int64_t g = begin; g < end; ++g) {
      const Levels l = levels_of({scale[g], zero[g]}, spec);
      for (int64_t i = g * length; i < (g + 1) * length; ++i) {
        out[i] = static_cast<Code>(static_cast<int32_t>(nearest_level(in[i], l) + zero[g]));
      }
    }
  });
}

}  // namespace

CodeRange code_range(const WeightQuantSpec& spec) {
  if (spec.symmetric) return {-(1 << (spec.bits - 1)), (1 << (spec.bits - 1)) - 1};
  return {0, (1 << spec.bits) - 1};
}

at::ScalarType code_dtype(const WeightQuantSpec& spec) {
  return code_range(spec).high > 127 ? at::kShort : at::kChar;
}

void check_spec(const WeightQuantSpec& spec, int64_t columns, std::string_view name) {
  check(spec.bits >= 2 && spec.bits <= 8, "{}: weights of {} bits, expected 2 to 8", name, spec.bits);
  check(spec.group_size == -1 || (spec.group_size > 0 && columns % spec.group_size == 0),
        "{}: group size {} with {} columns, expected -1 or a divisor", name, spec.group_size, columns);
  check(spec.scale_dtype == at::kFloat || spec.scale_dtype == at::kBFloat16 || spec.scale_dtype == at::kHalf,
        "{}: scales of dtype {}, expected float, bfloat16 or half", name, c10::toString(spec.scale_dtype));
}

bool all_finite(const at::Tensor& t) {
  if (t.numel() == 0) return true;
  const auto [low, high] = at::aminmax(t);  // both are NaN where any number is
  return std::isfinite(low.item<double>()) && std::isfinite(high.item<double>());
}

at::Tensor finite_matrix(const at::Tensor& weight, std::string_view name) {
  const at::ScalarType dtype = weight.scalar_type();
  check(dtype == at::kFloat || dtype == at::kBFloat16 || dtype == at::kHalf,
        "{}: dtype {}, expected float, bfloat16 or half", name, c10::toString(dtype));
  check(weight.dim() == 2 && weight.size(1) > 0, "{}: {} dimensions, {} numbers, expected a matrix", name,
        weight.dim(), weight.numel());
  at::Tensor w = weight.to(at::kFloat).contiguous();
  if (all_finite(w)) return w;
  const float* data = w.const_data_ptr<float>();
  const float* bad = std::find_if(data, data + w.numel(), [](float v) { return !std::isfinite(v); });
  const int64_t place = bad - data;
  fail("{}: {} at row {}, column {}, expected finite numbers", name, *bad, place / w.size(1),
       place % w.size(1));
}

void check_scales(const at::Tensor& scale, const WeightQuantSpec& spec, std::string_view name) {
  check(all_finite(scale), "{}: weights too large: a scale overflows {}", name,
        c10::toString(spec.scale_dtype));
}

GroupParams find_group_params(const float* w, int64_t n, const WeightQuantSpec& spec) {
  const Range r = find_range(w, n, spec);
  const float width = spec.symmetric ? r.high : std::max(r.high - r.low, kLeastRange);
  const GroupParams params = params_of(r, width, spec);
  return spec.mse_clip ? search_clip(w, n, spec, params, clip_candidates(r, spec)) : params;
}

QuantParams find_params(const at::Tensor& weight, const WeightQuantSpec& spec, std::string_view name) {
  const at::Tensor w = finite_matrix(weight, name);
  check_spec(spec, w.size(1), name);
  const int64_t length = group_length(w.size(1), spec);
  QuantParams params{at::empty({w.size(0), w.size(1) / length}), at::empty({w.size(0), w.size(1) / length})};
  const float* in = w.const_data_ptr<float>();
  float* scale = params.scale.mutable_data_ptr<float>();
  float* zero = params.zero.mutable_data_ptr<float>();
  model::for_rows(params.scale.numel(), length, [&](int64_t begin, int64_t end) {
    for (int64_t g = begin; g < end; ++g) {
      const GroupParams found = find_group_params(in + g * length, length, spec);
      scale[g] = found.scale;
      zero[g] = found.zero;
    }
  });
  check_scales(params.scale, spec, name);
  return params;
}

QuantizedWeight quantize(const at::Tensor& weight, const QuantParams& params, const WeightQuantSpec& spec,
                         std::string_view name) {
  const at::Tensor w = finite_matrix(weight, name);
  check_spec(spec, w.size(1), name);
  SPQ_ASSERT(params.scale.is_contiguous() && params.zero.is_contiguous());
  SPQ_ASSERT(params.scale.size(0) == w.size(0) && params.zero.sizes() == params.scale.sizes());
  SPQ_ASSERT(params.scale.size(1) == w.size(1) / group_length(w.size(1), spec));
  const at::Tensor codes = at::empty(w.sizes(), code_dtype(spec));
  if (code_dtype(spec) == at::kChar) {
    quantize_rows<int8_t>(w, params, spec, codes);
  } else {
    quantize_rows<int16_t>(w, params, spec, codes);
  }
  return {codes, params.scale.to(spec.scale_dtype), params.zero};
}

QuantizedWeight quantize_rtn(const at::Tensor& weight, const WeightQuantSpec& spec, std::string_view name) {
  return quantize(weight, find_params(weight, spec, name), spec, name);
}

at::Tensor dequantize(const QuantizedWeight& quantized, const at::Tensor& group_index, at::ScalarType dtype) {
  const int64_t rows = quantized.codes.size(0);
  const int64_t columns = quantized.codes.size(1);
  const at::Tensor codes = quantized.codes.to(at::kFloat);
  at::Tensor scale = quantized.scale.to(at::kFloat);
  at::Tensor zero = quantized.zero;
  if (group_index.defined()) {
    scale = scale.index_select(1, group_index);
    zero = zero.index_select(1, group_index);
    return codes.sub(zero).mul_(scale).to(dtype);
  }
  const int64_t groups = scale.size(1);
  const at::Tensor grouped = codes.view({rows, groups, columns / groups});
  return grouped.sub(zero.unsqueeze(2)).mul_(scale.unsqueeze(2)).view({rows, columns}).to(dtype);
}

}  // namespace spq::ptq
