// Finds missing barriers: accesses of two threads to one value in one phase, one of them a write.
#pragma once

#include <cstdint>

#include "core/error.h"

namespace spq::kernels::blocks {

/// Who touched a value of shared memory last, and in which phase.
class SharedTrace {
 public:
  /// Both abort where a barrier is missing.
  void read(int64_t phase, int thread) {
    SPQ_ASSERT(write_phase_ != phase || writer_ == thread);
    reader_ = read_phase_ == phase && reader_ != thread ? kSeveral : thread;
    read_phase_ = phase;
  }
  void write(int64_t phase, int thread) {
    SPQ_ASSERT(write_phase_ != phase || writer_ == thread);
    SPQ_ASSERT(read_phase_ != phase || reader_ == thread);
    writer_ = thread;
    write_phase_ = phase;
  }

 private:
  static constexpr int kSeveral = -2;
  int64_t read_phase_ = -1, write_phase_ = -1;
  int reader_ = -1, writer_ = -1;
};

}  // namespace spq::kernels::blocks
