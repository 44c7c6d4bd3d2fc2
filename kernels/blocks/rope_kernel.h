// Rotary embedding, in place: every value is read once and written once, by the same thread.
#pragma once

#include "kernels/blocks/launch.h"
#include "kernels/blocks/rows.h"

namespace spq::kernels::blocks {

/// A block for a token: its heads share cos and sin.
template <class T, int kWidth>
struct RopeKernel {
  static constexpr int kMaxThreads = 256;
  T* x;
  const float* cos;
  const float* sin;
  int64_t tokens;
  int heads, half;
  float sign;

  LaunchShape shape() const {
    const int64_t packs = ceil_div(int64_t{heads} * (half / kWidth), kWarp) * kWarp;
    return {static_cast<int>(packs < kMaxThreads ? packs : kMaxThreads), tokens, 0};
  }

  template <class Block>
  SPQ_BLOCK void operator()(Block& block) const {
    const int in_head = half / kWidth;
    for (int64_t token = block.index(); token < tokens; token += block.count()) {
      block.for_threads_apart([&](int t) {
        for (int p = t; p < heads * in_head; p += block.threads()) {
          const int j = p % in_head * kWidth;
          rotate(x + (token * heads + p / in_head) * 2 * half + j, cos + token * half + j,
                 sin + token * half + j);
        }
      });
    }
  }

  SPQ_BLOCK void rotate(T* low, const float* c, const float* s) const {
    constexpr int kTable = kWidth < 4 ? kWidth : 4;  // fp32 values of 16 bytes
    Pack<T, kWidth> a = load_pack<kWidth>(low);
    Pack<T, kWidth> b = load_pack<kWidth>(low + half);
    SPQ_UNROLL
    for (int k = 0; k < kWidth; k += kTable) {
      const Pack<float, kTable> cs = load_pack<kTable>(c + k);
      const Pack<float, kTable> sn = load_pack<kTable>(s + k);
      SPQ_UNROLL
      for (int w = 0; w < kTable; ++w) {
        const float u = number(a.v[k + w]);
        const float v = number(b.v[k + w]);
        a.v[k + w] = to_storage<T>(u * cs.v[w] - v * (sign * sn.v[w]));
        b.v[k + w] = to_storage<T>(v * cs.v[w] + u * (sign * sn.v[w]));
      }
    }
    store_pack(low, a);
    store_pack(low + half, b);
  }
};

template <class T, class Launcher>
LaunchResult launch_rope(const Launcher& launch, T* x, const float* cos, const float* sin, int64_t tokens,
                         int64_t heads, int64_t head_dim, RopeDirection direction) {
  constexpr int kWide = blocks::kWide<T>;
  const int64_t half = head_dim / 2;
  if (tokens * heads * half == 0) return {};
  const int h = static_cast<int>(heads);
  const int d = static_cast<int>(half);
  const float sign = direction == RopeDirection::kForward ? 1.0f : -1.0f;
  if (!aligned(x, cos, sin) || half % kWide != 0)
    return launch(RopeKernel<T, 1>{x, cos, sin, tokens, h, d, sign});
  return launch(RopeKernel<T, kWide>{x, cos, sin, tokens, h, d, sign});
}

}  // namespace spq::kernels::blocks
