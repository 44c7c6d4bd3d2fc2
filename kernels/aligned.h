// Scratch memory of the row kernels, aligned to a cache line.
#pragma once

#include <cstddef>
#include <new>
#include <vector>

namespace spq::kernels {

template <class A>
struct LineAllocator {
  using value_type = A;
  static constexpr std::align_val_t kLine{64};

  LineAllocator() = default;
  template <class B>
  explicit LineAllocator(const LineAllocator<B>&) {}
  A* allocate(size_t n) { return static_cast<A*>(::operator new(n * sizeof(A), kLine)); }
  void deallocate(A* p, size_t) { ::operator delete(p, kLine); }
  bool operator==(const LineAllocator&) const { return true; }
};

template <class A>
using Scratch = std::vector<A, LineAllocator<A>>;

}  // namespace spq::kernels
