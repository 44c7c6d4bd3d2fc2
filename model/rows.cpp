// Compiled with -fopenmp: without it at::parallel_for, a template, silently runs everything in one thread.
#include "model/rows.h"

#include <ATen/Parallel.h>

#include <algorithm>

#if !defined(_OPENMP)
#error "compile with -fopenmp"
#endif

namespace spq::model {

void for_rows(int64_t rows, int64_t cols, const std::function<void(int64_t, int64_t)>& body) {
  const int64_t grain = std::max<int64_t>(1, 32768 / std::max<int64_t>(1, cols));
  at::parallel_for(0, rows, grain, body);
}

void for_tasks(int64_t tasks, const std::function<void(int64_t, int64_t)>& body) {
  at::parallel_for(0, tasks, /*grain_size=*/1, body);
}

}  // namespace spq::model
