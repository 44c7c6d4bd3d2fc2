// Counts what LibTorch's allocator hands out on one thread.
#pragma once

#include <c10/core/Allocator.h>
#include <c10/util/ThreadLocalDebugInfo.h>

#include <algorithm>
#include <cstdint>

namespace spq::test {

// Bytes in tensors of the calling thread, and their peak. Counts while a
// c10::DebugInfoGuard(c10::DebugInfoKind::PROFILER_STATE, counter) lives.
class AllocationCounter : public c10::MemoryReportingInfoBase {
 public:
  void reportMemoryUsage(void*, int64_t size, size_t, size_t, c10::Device) override {
    now_ += size;
    peak_ = std::max(peak_, now_);
  }
  bool memoryProfilingEnabled() const override { return true; }
  int64_t peak() const { return peak_; }
  int64_t now() const { return now_; }
  void restart() { peak_ = now_; }

 private:
  int64_t now_ = 0;
  int64_t peak_ = 0;
};

}  // namespace spq::test
