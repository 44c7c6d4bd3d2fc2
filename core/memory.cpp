#include "core/memory.h"

#include <climits>
#include <cstdlib>

#if defined(__GLIBC__)
#include <malloc.h>
#endif

namespace spq {

void keep_freed_memory() {
#if defined(__GLIBC__)
  mallopt(M_MMAP_THRESHOLD, INT_MAX);  // larger blocks have pages of their own, which free() returns
  mallopt(M_TRIM_THRESHOLD, INT_MAX);
#endif
}

}  // namespace spq
