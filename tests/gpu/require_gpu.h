// Tests that need a GPU say so first, and are counted as skipped where there is none.
#pragma once

#include <gtest/gtest.h>

#include <string>

namespace spq::test {

/// Empty where a CUDA device answers; otherwise why none does, in one line.
std::string gpu_obstacle();

}  // namespace spq::test

/// First line of a test. ctest counts a program whose tests say this as skipped (tests/gpu/CMakeLists.txt).
#define SPQ_REQUIRE_GPU()                                                  \
  do {                                                                     \
    const std::string spq_obstacle = ::spq::test::gpu_obstacle();          \
    if (!spq_obstacle.empty()) GTEST_SKIP() << "no GPU: " << spq_obstacle; \
  } while (false)
