// SwiGLU and its gradient: every value is read once and written once, by the same thread.
#pragma once

#include "kernels/blocks/launch.h"
#include "kernels/blocks/rows.h"
#include "kernels/exponential.h"

namespace spq::kernels::blocks {

inline constexpr int kFlatBlock = 256;

/// Calls f.template operator()<kLength>(i) for packs that cover 0 .. n - 1, single values at the end.
template <int kWidth, class Block, class F>
SPQ_BLOCK void for_flat(Block& block, int64_t n, const F& f) {
  block.for_threads_apart([&](int t) {
    const int64_t step = block.count() * block.threads() * kWidth;
    for (int64_t i = (block.index() * block.threads() + t) * kWidth; i < n; i += step) {
      if (i + kWidth <= n) {
        f.template operator()<kWidth>(i);
      } else {
        for (int64_t k = i; k < n; ++k) f.template operator()<1>(k);
      }
    }
  });
}

inline LaunchShape flat_shape(int64_t n, int width) {
  return {kFlatBlock, ceil_div(n, int64_t{kFlatBlock} * width), 0};
}

template <class T, int kWidth>
struct SwigluKernel {
  static constexpr int kMaxThreads = kFlatBlock;
  const T* gate;
  const T* up;
  T* product;
  int64_t n;

  LaunchShape shape() const { return flat_shape(n, kWidth); }

  template <class Block>
  SPQ_BLOCK void operator()(Block& block) const {
    for_flat<kWidth>(block, n, [&]<int kLength>(int64_t i) {
      const Pack<T, kLength> gates = load_pack<kLength>(gate + i);
      Pack<T, kLength> values = load_pack<kLength>(up + i);
      SPQ_UNROLL
      for (int k = 0; k < kLength; ++k) {
        const float g = number(gates.v[k]);
        values.v[k] = to_storage<T>(g / (1.0f + row_exp(-g)) * number(values.v[k]));
      }
      store_pack(product + i, values);
    });
  }
};

template <class T, int kWidth>
struct SwigluGradientKernel {
  static constexpr int kMaxThreads = kFlatBlock;
  const T* gate;
  const T* up;
  const T* grad_product;
  T* grad_gate;
  T* grad_up;
  int64_t n;

  LaunchShape shape() const { return flat_shape(n, kWidth); }

  template <class Block>
  SPQ_BLOCK void operator()(Block& block) const {
    for_flat<kWidth>(block, n, [&]<int kLength>(int64_t i) {
      Pack<T, kLength> gates = load_pack<kLength>(gate + i);
      Pack<T, kLength> ups = load_pack<kLength>(up + i);
      const Pack<T, kLength> grads = load_pack<kLength>(grad_product + i);
      SPQ_UNROLL
      for (int k = 0; k < kLength; ++k) {
        const float g = number(gates.v[k]);
        const float u = number(ups.v[k]);
        const float grad = number(grads.v[k]);
        const float sigmoid = 1.0f / (1.0f + row_exp(-g));
        const float silu = g * sigmoid;
        ups.v[k] = to_storage<T>(grad * silu);
        gates.v[k] = to_storage<T>(grad * u * (sigmoid + silu * (1.0f - sigmoid)));
      }
      store_pack(grad_gate + i, gates);
      store_pack(grad_up + i, ups);
    });
  }
};

template <class T, class Launcher>
LaunchResult launch_swiglu(const Launcher& launch, const T* gate, const T* up, T* product, int64_t n) {
  constexpr int kWide = blocks::kWide<T>;
  if (n == 0) return {};
  if (!aligned(gate, up, product)) return launch(SwigluKernel<T, 1>{gate, up, product, n});
  return launch(SwigluKernel<T, kWide>{gate, up, product, n});
}

template <class T, class Launcher>
LaunchResult launch_swiglu_backward(const Launcher& launch, const T* gate, const T* up, const T* grad_product,
                                    T* grad_gate, T* grad_up, int64_t n) {
  constexpr int kWide = blocks::kWide<T>;
  if (n == 0) return {};
  if (!aligned(gate, up, grad_product, grad_gate, grad_up)) {
    return launch(SwigluGradientKernel<T, 1>{gate, up, grad_product, grad_gate, grad_up, n});
  }
  return launch(SwigluGradientKernel<T, kWide>{gate, up, grad_product, grad_gate, grad_up, n});
}

}  // namespace spq::kernels::blocks
