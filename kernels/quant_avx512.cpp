#include "kernels/quant_avx512.h"

#include "kernels/quant_arithmetic.h"
#include "kernels/quant_row.h"

#if SPQ_X86_LEVELS

#include <immintrin.h>

#pragma GCC push_options
#pragma GCC target("avx2,fma,bmi2,avx512f,avx512bw,avx512dq,avx512vl,prefer-vector-width=512")

namespace spq::kernels::avx512 {
namespace {

constexpr int64_t kStep = 32;  // bf16 values of one vector
constexpr int kUpperHalves = static_cast<int>(0xffff0000u);

// 32 neighbours as numbers: those at even places and those at odd ones. A word of memory holds one of each,
// so that neither loading nor storing moves anything between lanes.
struct Numbers {
  __m512 even, odd;
};

inline Numbers load(const bfloat16* x) {
  const __m512i words = _mm512_loadu_si512(x);
  return {_mm512_castsi512_ps(_mm512_slli_epi32(words, 16)),
          _mm512_castsi512_ps(_mm512_and_si512(words, _mm512_set1_epi32(kUpperHalves)))};
}

// bfloat16::round_up_half.
inline __m512i round_up_half(__m512 v) {
  const __m512i raw = _mm512_castps_si512(v);
  const __mmask16 odd = _mm512_test_epi32_mask(raw, _mm512_set1_epi32(0x10000));
  return _mm512_add_epi32(raw,
                          _mm512_mask_blend_epi32(odd, _mm512_set1_epi32(0x7fff), _mm512_set1_epi32(0x8000)));
}

inline __m512 rounded_to_bf16(__m512 v) {
  return _mm512_castsi512_ps(_mm512_and_si512(round_up_half(v), _mm512_set1_epi32(kUpperHalves)));
}

// Stores the upper halves.
inline void store(bfloat16* to, __m512i even, __m512i odd) {
  constexpr int kSelect = 0xca;  // first operand ? second : third
  _mm512_storeu_si512(to, _mm512_ternarylogic_epi32(_mm512_set1_epi32(kUpperHalves), odd,
                                                    _mm512_srli_epi32(even, 16), kSelect));
}

// FastQuantizer on 16 values, with its result rounded to bf16. kTable: the range has 16 codes at most, whose
// values lie in a table, each at the low four bits of its code.
template <bool kTable>
class Quantizer {
 public:
  explicit Quantizer(const FastQuantizer<float>& q)
      : scale_(_mm512_set1_ps(q.scale)),
        reciprocal_(_mm512_set1_ps(q.reciprocal)),
        low_(_mm512_set1_epi32(q.low)),
        high_(_mm512_set1_epi32(q.high)) {
    if constexpr (kTable) {
      const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
      const __m512i steps = _mm512_and_si512(_mm512_sub_epi32(lanes, low_), _mm512_set1_epi32(15));
      table_ = value(_mm512_add_epi32(low_, steps));
    }
  }

  __m512 operator()(__m512 x) const {
    const __m512 near = _mm512_mul_ps(x, reciprocal_);
    const __m512 quotient = _mm512_fmadd_ps(_mm512_fnmadd_ps(near, scale_, x), reciprocal_, near);
    const __m512i rounded = _mm512_castps_si512(_mm512_add_ps(quotient, _mm512_set1_ps(kLarge)));
    const __m512i code = _mm512_min_epi32(_mm512_max_epi32(rounded, low_), high_);
    return kTable ? _mm512_permutexvar_ps(code, table_) : value(code);
  }

 private:
  static constexpr float kLarge = FastQuantizer<float>::kLarge;

  __m512 value(__m512i code) const {
    return rounded_to_bf16(
        _mm512_mul_ps(scale_, _mm512_sub_ps(_mm512_castsi512_ps(code), _mm512_set1_ps(kLarge))));
  }

  __m512 scale_;
  __m512 reciprocal_;
  __m512i low_;
  __m512i high_;
  __m512 table_;
};

// `ahead`: how far the values lie that are read after this row or part of one. Fetching them, and where their
// results go, while these are computed takes up to a quarter off the time of rows that are not in this core's
// caches.
template <bool kWriteHat, bool kWriteError, bool kFactor, bool kTable>
void quant_group(const bfloat16* x, float factor, bfloat16* x_hat, bfloat16* error, int64_t n, int64_t ahead,
                 const QuantRange<float>& range) {
  const Quantizer<kTable> quantizer{FastQuantizer<float>(range)};
  for (int64_t i = 0; i < n; i += kStep) {
    _mm_prefetch(reinterpret_cast<const char*>(x + i + ahead), _MM_HINT_T0);
    if constexpr (kWriteHat) __builtin_prefetch(x_hat + i + ahead, 1, 3);
    if constexpr (kWriteError) __builtin_prefetch(error + i + ahead, 1, 3);
    Numbers v = load(x + i);
    if constexpr (kFactor) {
      v = {rounded_to_bf16(_mm512_mul_ps(v.even, _mm512_set1_ps(factor))),
           rounded_to_bf16(_mm512_mul_ps(v.odd, _mm512_set1_ps(factor)))};
    }
    const Numbers hat{quantizer(v.even), quantizer(v.odd)};
    if constexpr (kWriteHat) store(x_hat + i, _mm512_castps_si512(hat.even), _mm512_castps_si512(hat.odd));
    if constexpr (kWriteError) {
      store(error + i, round_up_half(_mm512_sub_ps(hat.even, v.even)),
            round_up_half(_mm512_sub_ps(hat.odd, v.odd)));
    }
  }
}

template <bool kWriteHat, bool kWriteError, bool kFactor>
void quant_some(const bfloat16* x, float factor, bfloat16* x_hat, bfloat16* error, int64_t length,
                int64_t groups, const QuantRange<float>* ranges) {
  const bool table = ranges[0].code_max - ranges[0].code_min < 16;
  for (int64_t g = 0; g < groups; ++g) {
    const int64_t i = g * length;
    const auto group = table ? quant_group<kWriteHat, kWriteError, kFactor, true>
                             : quant_group<kWriteHat, kWriteError, kFactor, false>;
    group(x + i, factor, at(x_hat, i), at(error, i), length, groups * length, ranges[g]);
  }
}

// Bits of bf16 numbers as unsigned integers of the same order.
inline __m512i ordered_keys(__m512i bits) {
  constexpr int kOrXor = 0x56;  // (first | second) ^ third
  return _mm512_ternarylogic_epi32(_mm512_srai_epi16(bits, 15), _mm512_set1_epi16(INT16_MIN), bits, kOrXor);
}

inline float from_key(int key) {
  return bfloat16::decode(static_cast<uint16_t>((key & 0x8000) != 0 ? key ^ 0x8000 : ~key));
}

inline int smallest(__m512i keys) {
  const __m256i half = _mm256_min_epu16(_mm512_castsi512_si256(keys), _mm512_extracti64x4_epi64(keys, 1));
  const __m128i quarter = _mm_min_epu16(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
  return _mm_extract_epi16(_mm_minpos_epu16(quarter), 0);
}

}  // namespace

void min_max_groups(const bfloat16* x, int64_t length, int64_t groups, MinMax<float>* extremes) {
  const __m512i ones = _mm512_set1_epi32(-1);
  for (int64_t g = 0; g < groups; ++g, x += length) {
    __m512i low = ones;
    __m512i high = _mm512_setzero_si512();
    for (int64_t i = 0; i < length; i += kStep) {
      const __m512i keys = ordered_keys(_mm512_loadu_si512(x + i));
      low = _mm512_min_epu16(low, keys);
      high = _mm512_max_epu16(high, keys);
    }
    extremes[g] = {from_key(smallest(low)), from_key(0xffff ^ smallest(_mm512_xor_si512(high, ones)))};
  }
}

void quant_groups(const bfloat16* x, const float* factor, bfloat16* x_hat, bfloat16* error, int64_t length,
                  int64_t groups, const QuantRange<float>* ranges) {
  for_outputs(x_hat, error, [&]<bool kWriteHat, bool kWriteError>() {
    if (factor) {
      quant_some<kWriteHat, kWriteError, true>(x, *factor, x_hat, error, length, groups, ranges);
    } else {
      quant_some<kWriteHat, kWriteError, false>(x, 1.0f, x_hat, error, length, groups, ranges);
    }
  });
}

}  // namespace spq::kernels::avx512

#pragma GCC pop_options

#endif
