#include "core/error.h"

#include <cstdio>
#include <cstdlib>

namespace spq {

void assertion_failed(const char* condition, const char* file, int line) {
  std::fprintf(stderr, "spq: internal error: %s does not hold at %s:%d\n", condition, file, line);
  std::abort();
}

}  // namespace spq
