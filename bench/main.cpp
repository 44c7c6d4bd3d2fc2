// Google Benchmark's main, with memory handled as in the programs.
#include <benchmark/benchmark.h>

#include "core/memory.h"

int main(int argc, char** argv) {
  spq::keep_freed_memory();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
