// What a block kernel is written against, so that one source runs on a GPU (cuda_block.cuh) and thread by
// thread on the host (host_block.h).
//
// A kernel is a struct of arguments with
//
//     static constexpr int kMaxThreads;  // most threads of a block
//     LaunchShape shape() const;         // host: how it is to be started
//     template <class Block> SPQ_BLOCK void operator()(Block& block) const;
//
// and a Block offers
// - threads(), index(), count(): threads of a block (a multiple of 32), its number, how many there are.
// - Block::PerThread<V> v(block); v[t]: a value of each thread that outlives a phase.
// - s = block.shared<V>(n): n values that all threads see: s.get(i), s.set(i, v), and packs of them.
// - block.for_threads([&](int t) {...}): a phase: for every thread, then a barrier.
// - block.for_threads_apart([&](int t) {...}): without the barrier; uses no shared memory, and no memory that
//   other threads of the block write.
// - block.reduce<Op>(v, team, scratch): v[t] becomes Op::join over the team of t, in a fixed order. A team is
//   the block, or a power of two of threads up to a warp (which needs no scratch).
//
// Outside phases a kernel may only do what is the same for all threads. The host finds reads and writes of
// shared memory that no barrier separates, and indices out of range.
#pragma once

#include <cstdint>

#if defined(__CUDACC__)
#define SPQ_BLOCK __device__ __forceinline__
#define SPQ_UNROLL _Pragma("unroll")
#else
#define SPQ_BLOCK inline
#define SPQ_UNROLL
#endif

namespace spq::kernels::blocks {

inline constexpr int kWarp = 32;
inline constexpr int kLargestBlock = 1024;
inline constexpr int64_t kLargestGrid = (int64_t{1} << 31) - 1;

/// What a launcher needs to know of a kernel with its arguments. No block: nothing is started.
struct LaunchShape {
  int threads;
  int64_t blocks;
  int64_t shared_bytes;  // the sum of shared_size over what the kernel asks of block.shared
};

/// Bytes that block.shared<V>(count) takes.
template <class V>
constexpr int64_t shared_size(int64_t count) {
  constexpr int64_t kAlign = 16;
  return (count * static_cast<int64_t>(sizeof(V)) + kAlign - 1) / kAlign * kAlign;
}

/// Values of shared memory that reduce() needs beside it: none where a team is part of a warp.
constexpr int reduce_scratch(int team) {
  return team > kWarp ? kLargestBlock / kWarp : 0;
}

/// kLength neighbouring values, loaded and stored at once.
template <class V, int kLength>
struct alignas(sizeof(V) * kLength) Pack {
  V v[kLength];
};

constexpr int64_t ceil_div(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

}  // namespace spq::kernels::blocks
