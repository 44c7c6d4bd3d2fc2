// The loops of fake quantization over bf16 rows with AVX-512 instructions: plain C++ spends more than half of
// its instructions there on widening and narrowing. The same bits as the loops of quant_row.h.
#pragma once

#include <cstdint>
#include <type_traits>

#include "kernels/bfloat16.h"
#include "kernels/extremes.h"
#include "kernels/fake_quant.h"
#include "kernels/isa.h"

namespace spq::kernels::avx512 {

/// Rows that these loops are for, in a program that has them.
template <class T>
inline constexpr bool kHas = SPQ_X86_LEVELS&& std::is_same_v<T, bfloat16>;

/// Whether this machine and groups of `length` values can use the functions below.
inline bool fits(int64_t length) {
  return best_isa() == Isa::kAvx512 && length % 32 == 0;
}

/// min_max of reduce_row.h, of `groups` groups of `length` values.
void min_max_groups(const bfloat16* x, int64_t length, int64_t groups, MinMax<float>* extremes);

/// Quantizes groups whose ranges FastQuantizer fits, into the outputs that are not null: the values as they
/// are, or each times `factor`, rounded, where that is given.
void quant_groups(const bfloat16* x, const float* factor, bfloat16* x_hat, bfloat16* error, int64_t length,
                  int64_t groups, const QuantRange<float>* ranges);

}  // namespace spq::kernels::avx512
