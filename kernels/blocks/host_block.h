// A block on the host: its threads run one after another between barriers, every access to shared memory is
// checked. For tests; the promise of each member is in block.h.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>
#include <vector>

#include "core/error.h"
#include "kernels/aligned.h"
#include "kernels/blocks/block.h"
#include "kernels/blocks/shared_trace.h"

namespace spq::kernels::blocks {

class HostBlock {
 public:
  HostBlock(const LaunchShape& shape, int64_t index, int64_t count, bool reversed)
      : threads_(shape.threads), index_(index), count_(count), reversed_(reversed) {
    memory_.resize(static_cast<size_t>(shape.shared_bytes), std::byte{0xff});  // NaN to whoever reads it
  }
  HostBlock(const HostBlock&) = delete;
  HostBlock& operator=(const HostBlock&) = delete;

  int threads() const { return threads_; }
  int64_t index() const { return index_; }
  int64_t count() const { return count_; }

  template <class V>
  class PerThread {
   public:
    explicit PerThread(HostBlock& block) : block_(block), values_(static_cast<size_t>(block.threads_)) {
      static_assert(std::is_trivially_copyable_v<V>);
      std::memset(static_cast<void*>(values_.data()), 0xff, values_.size() * sizeof(V));
    }
    V& operator[](int t) {
      SPQ_ASSERT(t == block_.current_);  // a thread sees its own registers only
      return values_[static_cast<size_t>(t)];
    }

   private:
    friend class HostBlock;
    HostBlock& block_;
    std::vector<V> values_;
  };

  template <class V>
  class Shared {
   public:
    V get(int64_t i) const {
      block_->check_shared();
      trace(i).read(block_->phase_, block_->current_);
      return values_[i];
    }
    void set(int64_t i, V v) const {
      block_->check_shared();
      trace(i).write(block_->phase_, block_->current_);
      values_[i] = v;
    }
    template <int kLength>
    Pack<V, kLength> get_pack(int64_t i) const {
      SPQ_ASSERT(i % kLength == 0);  // the GPU would refuse the address
      Pack<V, kLength> pack;
      for (int k = 0; k < kLength; ++k) pack.v[k] = get(i + k);
      return pack;
    }
    template <int kLength>
    void set_pack(int64_t i, const Pack<V, kLength>& pack) const {
      SPQ_ASSERT(i % kLength == 0);
      for (int k = 0; k < kLength; ++k) set(i + k, pack.v[k]);
    }

   private:
    friend class HostBlock;
    Shared(HostBlock* block, V* values, size_t trace_begin, int64_t count)
        : block_(block), values_(values), trace_begin_(trace_begin), count_(count) {}
    SharedTrace& trace(int64_t i) const {
      SPQ_ASSERT(i >= 0 && i < count_);
      return block_->traces_[trace_begin_ + static_cast<size_t>(i)];
    }
    HostBlock* block_;
    V* values_;
    size_t trace_begin_;
    int64_t count_;
  };

  template <class V>
  Shared<V> shared(int64_t count) {
    const int64_t bytes = shared_size<V>(count);
    SPQ_ASSERT(used_ + bytes <= static_cast<int64_t>(memory_.size()));
    auto* values = reinterpret_cast<V*>(memory_.data() + used_);
    used_ += bytes;
    const size_t begin = traces_.size();
    traces_.resize(begin + static_cast<size_t>(count));
    return Shared<V>(this, values, begin, count);
  }

  template <class F>
  void for_threads(const F& f) {
    run(f, true);
  }
  template <class F>
  void for_threads_apart(const F& f) {
    run(f, false);
  }

  /// As the GPU does it: a butterfly within each warp, then one over the results of the warps.
  template <class Op, class V>
  void reduce(PerThread<V>& per_thread, int team) {
    SPQ_ASSERT(team > 0 && team <= kWarp && kWarp % team == 0);
    for (int distance = team / 2; distance > 0; distance /= 2) exchange<Op>(per_thread.values_, distance);
  }
  template <class Op, class V>
  void reduce(PerThread<V>& per_thread, int team, const Shared<V>& scratch) {
    if (team <= kWarp) return reduce<Op>(per_thread, team);
    SPQ_ASSERT(team == threads_ && scratch.count_ >= threads_ / kWarp);
    reduce<Op>(per_thread, kWarp);
    std::vector<V>& v = per_thread.values_;
    std::vector<V> warps(kWarp, Op::identity());
    for (int w = 0; w < threads_ / kWarp; ++w) {
      warps[static_cast<size_t>(w)] = v[static_cast<size_t>(w * kWarp)];
    }
    for (int distance = kWarp / 2; distance > 0; distance /= 2) exchange<Op>(warps, distance);
    std::fill(v.begin(), v.end(), warps[0]);
  }

  /// To be called when the kernel has returned.
  void finish() const { SPQ_ASSERT(used_ == static_cast<int64_t>(memory_.size())); }

 private:
  template <class F>
  void run(const F& f, bool may_share) {
    ++phase_;
    may_share_ = may_share;
    for (int i = 0; i < threads_; ++i) {
      current_ = reversed_ ? threads_ - 1 - i : i;
      f(current_);
    }
    current_ = -1;
  }

  template <class Op, class V>
  static void exchange(std::vector<V>& v, int distance) {
    const std::vector<V> before = v;
    for (size_t t = 0; t < v.size(); ++t)
      v[t] = Op::join(before[t], before[t ^ static_cast<size_t>(distance)]);
  }

  void check_shared() const { SPQ_ASSERT(current_ >= 0 && may_share_); }

  int threads_;
  int64_t index_, count_;
  bool reversed_;
  bool may_share_ = false;
  int current_ = -1;
  int64_t phase_ = 0;
  int64_t used_ = 0;
  Scratch<std::byte> memory_;
  std::vector<SharedTrace> traces_;
};

}  // namespace spq::kernels::blocks
