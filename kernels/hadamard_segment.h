// Unnormalised Walsh-Hadamard transform of one segment of a row on its way between fp32 or bf16 memory and
// fp32 scratch memory, where the values of two vectors are in an order of their own: quantization asks for
// none, and the inverse restores it.
//
// Butterflies run by distance, in the same order whatever the length of vectors, so that results do not
// depend on it: 16 (bf16: 1) first, which are those between the two vectors of a pair, then upwards; the
// inverse the other way round.
#pragma once

#include <cstdint>

#include "kernels/hadamard_fold.h"
#include "kernels/hadamard_pair.h"
#include "kernels/lanes.h"
#include "kernels/quant_arithmetic.h"
#include "kernels/walsh.h"

namespace spq::kernels {

/// Transforms of segments of m values, a power of two and at least kShortest.
template <Isa kIsa, class T>
class SegmentWalsh {
  using Pair = LanePair<kIsa, T>;
  using V = typename Pair::V;
  static constexpr int kLanes = static_cast<int>(Pair::kLanes);

 public:
  static constexpr int64_t kShortest = 64;

  static void forward(const T* x, float* v, int64_t m) {
    for_parts(m, [&]<int kVectors>() {
      constexpr int64_t kPart = kVectors * kLanes;
      if (m == kPart) return forward_part<kVectors, false>(x, v);
      for (int64_t i = 0; i < m; i += 2 * kPart) {
        forward_part<kVectors, false>(x + i, v + i);
        forward_part<kVectors, true>(x + i + kPart, v + i + kPart);
      }
      for (int64_t h = 2 * kPart; h < m; h *= 4) {
        if (2 * h < m) {
          walsh_two_stages(v, m, h, 2 * h);
        } else {
          walsh_stage(v, m, h);
        }
      }
    });
  }

  /// Of v, into the outputs that are asked for; changes v.
  template <bool kHat, bool kError>
  static void inverse(float* v, const T* x, T* x_hat, T* error, int64_t m) {
    for_parts(m, [&]<int kVectors>() {
      constexpr int64_t kPart = kVectors * kLanes;
      if (m == kPart) return inverse_part<kVectors, false, kHat, kError>(v, x, x_hat, error);
      int64_t h = m / 2;
      for (; h >= 4 * kPart; h /= 4) walsh_two_stages(v, m, h, h / 2);
      if (h >= 2 * kPart) walsh_stage(v, m, h);
      for (int64_t i = 0; i < m; i += 2 * kPart) {
        inverse_part<kVectors, true, kHat, kError>(v + i, x + i, at(x_hat, i), at(error, i));
        const int64_t j = i + kPart;
        inverse_part<kVectors, false, kHat, kError>(v + j, x + j, at(x_hat, j), at(error, j));
      }
    });
  }

 private:
  // As many vectors at once as the registers hold.
  template <class Body>
  static void for_parts(int64_t m, const Body& body) {
    if constexpr (kIsa == Isa::kAvx512) {
      if (m >= 256) return body.template operator()<16>();
      if (m >= 128) return body.template operator()<8>();
    }
    body.template operator()<kShortest / kLanes>();
  }

  template <int kVectors>
  static void butterflies(V* v, int h) {
#pragma GCC unroll 16
    for (int k = 0; k < kVectors; ++k) {
      if (!(k & h)) butterfly(v[k], v[k + h]);
    }
  }

  // kSecond: with the butterflies between this part and the one before it.
  template <int kVectors, bool kSecond>
  static void forward_part(const T* x, float* to) {
    V v[kVectors];
#pragma GCC unroll 16
    for (int k = 0; k < kVectors; k += 2) {
      Pair::load(x + Pair::begin(k / 2), v[k], v[k + 1]);
      butterfly(v[k], v[k + 1]);
      PairFold<kLanes>::forward(v[k], v[k + 1]);
    }
#pragma GCC unroll 4
    for (int h = 2; h < kVectors; h *= 2) butterflies<kVectors>(v, h);
#pragma GCC unroll 16
    for (int k = 0; k < kVectors; ++k) {
      if constexpr (kSecond) {
        V first;
        load_lanes(first, to + (k - kVectors) * kLanes);
        butterfly(first, v[k]);
        store_lanes(to + (k - kVectors) * kLanes, first);
      }
      store_lanes(to + k * kLanes, v[k]);
    }
  }

  // kFirst: with the butterflies between this part and the next.
  template <int kVectors, bool kFirst, bool kHat, bool kError>
  static void inverse_part(float* from, const T* x, T* x_hat, T* error) {
    V v[kVectors];
#pragma GCC unroll 16
    for (int k = 0; k < kVectors; ++k) {
      load_lanes(v[k], from + k * kLanes);
      if constexpr (kFirst) {
        V second;
        load_lanes(second, from + (k + kVectors) * kLanes);
        butterfly(v[k], second);
        store_lanes(from + (k + kVectors) * kLanes, second);
      }
    }
#pragma GCC unroll 4
    for (int h = kVectors / 2; h > 1; h /= 2) butterflies<kVectors>(v, h);
#pragma GCC unroll 16
    for (int k = 0; k < kVectors; k += 2) {
      PairFold<kLanes>::inverse(v[k], v[k + 1]);
      butterfly(v[k], v[k + 1]);
      const int64_t i = Pair::begin(k / 2);
      Pair::template store_point<kHat, kError>(v[k], v[k + 1], x + i, at(x_hat, i), at(error, i));
    }
  }
};

}  // namespace spq::kernels
