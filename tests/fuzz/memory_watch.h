// How much memory a piece of code holds at its worst, whoever in the process asks for it.
#pragma once

#include <cstdint>

namespace spq::fuzz {

/// Called from inside the request for memory that goes beyond the limit: it must not allocate.
using OnExcess = void (*)(int64_t bytes);

/// Counts bytes requested from malloc and its relatives (operator new, LibTorch and HDF5 go through them)
/// from now on; `on_excess` is called by a request that brings the sum of live bytes above `limit`.
void start_memory_watch(int64_t limit, OnExcess on_excess);

/// Peak of the live bytes since the start; ends the watch.
int64_t stop_memory_watch();

}  // namespace spq::fuzz
