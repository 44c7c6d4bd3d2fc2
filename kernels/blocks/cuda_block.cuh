// A block on a GPU; the promise of each member is in block.h.
#pragma once

#include <cstdint>
#include <cstring>

#include "kernels/blocks/block.h"

namespace spq::kernels::blocks {

class CudaBlock {
 public:
  __device__ __forceinline__ int threads() const { return static_cast<int>(blockDim.x); }
  __device__ __forceinline__ int64_t index() const { return blockIdx.x; }
  __device__ __forceinline__ int64_t count() const { return gridDim.x; }

  template <class V>
  class PerThread {
   public:
    __device__ __forceinline__ explicit PerThread(CudaBlock&) {}
    __device__ __forceinline__ V& operator[](int) { return value_; }

   private:
    V value_;
  };

  template <class V>
  class Shared {
   public:
    __device__ __forceinline__ explicit Shared(V* values) : values_(values) {}
    __device__ __forceinline__ V get(int64_t i) const { return values_[i]; }
    __device__ __forceinline__ void set(int64_t i, V v) const { values_[i] = v; }
    template <int kLength>
    __device__ __forceinline__ Pack<V, kLength> get_pack(int64_t i) const {
      return *reinterpret_cast<const Pack<V, kLength>*>(values_ + i);
    }
    template <int kLength>
    __device__ __forceinline__ void set_pack(int64_t i, const Pack<V, kLength>& pack) const {
      *reinterpret_cast<Pack<V, kLength>*>(values_ + i) = pack;
    }

   private:
    V* values_;
  };

  template <class V>
  __device__ __forceinline__ Shared<V> shared(int64_t count) {
    extern __shared__ __align__(16) unsigned char spq_shared_memory[];
    V* values = reinterpret_cast<V*>(spq_shared_memory + used_);
    used_ += shared_size<V>(count);
    return Shared<V>(values);
  }

  template <class F>
  __device__ __forceinline__ void for_threads(const F& f) {
    f(static_cast<int>(threadIdx.x));
    __syncthreads();
  }
  template <class F>
  __device__ __forceinline__ void for_threads_apart(const F& f) {
    f(static_cast<int>(threadIdx.x));
  }

  template <class Op, class V>
  __device__ __forceinline__ void reduce(PerThread<V>& per_thread, int team) {
    V v = per_thread[0];
    for (int distance = team / 2; distance > 0; distance /= 2) v = Op::join(v, other_lane(v, distance));
    per_thread[0] = v;
  }
  template <class Op, class V>
  __device__ __forceinline__ void reduce(PerThread<V>& per_thread, int team, const Shared<V>& scratch) {
    if (team <= kWarp) return reduce<Op>(per_thread, team);
    reduce<Op>(per_thread, kWarp);
    const int warp = static_cast<int>(threadIdx.x) / kWarp;
    const int lane = static_cast<int>(threadIdx.x) % kWarp;
    if (lane == 0) scratch.set(warp, per_thread[0]);
    __syncthreads();
    per_thread[0] = lane < threads() / kWarp ? scratch.get(lane) : Op::identity();
    __syncthreads();  // the next reduction writes scratch again
    reduce<Op>(per_thread, kWarp);
  }

 private:
  template <class V>
  __device__ __forceinline__ static V other_lane(V v, int distance) {
    static_assert(sizeof(V) % 4 == 0);
    unsigned words[sizeof(V) / 4];
    memcpy(words, &v, sizeof(V));
    SPQ_UNROLL
    for (unsigned& word : words) word = __shfl_xor_sync(0xffffffffu, word, distance);
    memcpy(&v, words, sizeof(V));
    return v;
  }

  int64_t used_ = 0;
};

}  // namespace spq::kernels::blocks
