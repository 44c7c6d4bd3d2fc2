// How block kernels read and write rows of bf16 and fp32: in packs of 16 bytes, each thread every team-th
// one.
#pragma once

#include <bit>
#include <cstdint>

#include "kernels/bfloat16.h"
#include "kernels/blocks/block.h"
#include "kernels/extremes.h"

#if defined(__CUDACC__)
#include <cuda_bf16.h>
#endif

namespace spq::kernels::blocks {

/// Values of T in 16 bytes: the widest load of a GPU.
template <class T>
inline constexpr int kWide = 16 / static_cast<int>(sizeof(T));

/// True if packs can be loaded from all of these; null pointers are not used.
template <class... P>
bool aligned(const P*... pointers) {
  return ((reinterpret_cast<uintptr_t>(pointers) % 16 == 0) && ...);
}

template <int kWidth, class T>
SPQ_BLOCK Pack<T, kWidth> load_pack(const T* p) {
  return *reinterpret_cast<const Pack<T, kWidth>*>(p);
}
template <int kWidth, class T>
SPQ_BLOCK void store_pack(T* p, const Pack<T, kWidth>& pack) {
#if defined(__CUDA_ARCH__)
  if constexpr (sizeof(pack) == sizeof(uint4)) {  // nvcc takes a plain assignment apart here and there
    __stwb(reinterpret_cast<uint4*>(p), std::bit_cast<uint4>(pack));
    return;
  }
#endif
  *reinterpret_cast<Pack<T, kWidth>*>(p) = pack;
}

SPQ_BLOCK float number(float v) {
  return v;
}
SPQ_BLOCK float number(bfloat16 v) {
  return bfloat16::decode(v.bits);
}

/// v rounded to T, NaN included: what kernels/bfloat16.h's narrow leaves out, a NaN with ones in its lower
/// half, is the one that a GPU's arithmetic makes.
template <class T>
SPQ_BLOCK T to_storage(float v);
template <>
SPQ_BLOCK float to_storage<float>(float v) {
  return v;
}
template <>
SPQ_BLOCK bfloat16 to_storage<bfloat16>(float v) {
#if defined(__CUDA_ARCH__)
  bfloat16 rounded;
  rounded.bits = __bfloat16_as_ushort(__float2bfloat16_rn(v));
  return rounded;
#else
  return bfloat16(v);
#endif
}

template <class T>
SPQ_BLOCK float through_storage(float v) {
  return number(to_storage<T>(v));
}

/// Extremes as integers of the same order: joining them is exact in any order, and a NaN is an extreme.
struct Extremes {
  int32_t low, high;

  SPQ_BLOCK static Extremes identity() { return {0x7fffffff, static_cast<int32_t>(0x80000000u)}; }
  SPQ_BLOCK static Extremes join(Extremes a, Extremes b) {
    return {a.low < b.low ? a.low : b.low, a.high > b.high ? a.high : b.high};
  }
  SPQ_BLOCK void add(float v) {
    const int32_t o = ordered(std::bit_cast<uint32_t>(v));
    *this = join(*this, {o, o});
  }
  SPQ_BLOCK MinMax<float> numbers() const { return {back(low), back(high)}; }
  SPQ_BLOCK static float back(int32_t o) { return std::bit_cast<float>(ordered(std::bit_cast<uint32_t>(o))); }
};

/// Equal parts of memory (rows, or groups of them), each worked on by a team: some threads of a warp, a warp,
/// or a block.
struct UnitLayout {
  int64_t length;  // values of a unit
  int64_t units;
  int team;
  int threads;  // of a block

  constexpr int units_per_block() const { return threads / team; }
  int64_t blocks() const { return ceil_div(units, threads / team); }
};

/// Packs that each thread keeps in registers between two passes over its unit; 0: it loads them again.
inline int slots_for(int64_t packs, int most) {
  if (packs <= kWarp) return 1;
  if (packs <= 4 * kLargestBlock) return 4;
  return packs <= most * int64_t{kLargestBlock} ? most : 0;
}

/// Teams for units of `packs` packs, `slots` in each thread.
inline UnitLayout unit_layout(int64_t length, int64_t units, int64_t packs, int slots) {
  constexpr int kSmallBlock = 256;
  const int64_t lanes = slots > 0 ? ceil_div(packs, slots) : packs;
  if (lanes > kWarp) {
    const int64_t threads = ceil_div(lanes, kWarp) * kWarp;
    const int team = static_cast<int>(threads < kLargestBlock ? threads : kLargestBlock);
    return {length, units, team, team};
  }
  return {length, units, static_cast<int>(std::bit_ceil(static_cast<uint32_t>(lanes))), kSmallBlock};
}

/// Calls f(slot, first value) for each pack of a unit that this lane of the team works on.
template <int kWidth, int kSlots, class F>
SPQ_BLOCK void for_packs(int lane, int team, int64_t length, const F& f) {
  if constexpr (kSlots > 0) {
    SPQ_UNROLL
    for (int s = 0; s < kSlots; ++s) {
      const int64_t i = static_cast<int64_t>(lane + s * team) * kWidth;
      if (i < length) f(s, i);
    }
  } else {
    for (int64_t i = static_cast<int64_t>(lane) * kWidth; i < length;
         i += static_cast<int64_t>(team) * kWidth) {
      f(0, i);
    }
  }
}

/// The packs of one thread: kept from the first pass to the second, or loaded again.
template <class T, int kWidth, int kSlots>
struct KeptPacks {
  Pack<T, kWidth> packs[kSlots > 0 ? kSlots : 1];

  SPQ_BLOCK Pack<T, kWidth> load(int slot, const T* p) {
    packs[slot] = load_pack<kWidth>(p);
    return packs[slot];
  }
  SPQ_BLOCK Pack<T, kWidth> again(int slot, const T* p) const {
    return kSlots > 0 ? packs[slot] : load_pack<kWidth>(p);
  }
};

}  // namespace spq::kernels::blocks
