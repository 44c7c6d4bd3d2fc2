// The current CUDA device as a place for the comparisons of tests/kernels/block_cases.h.
#pragma once

#include <memory>

#include "tests/kernels/block_device.h"

namespace spq::test {

/// Kernels are queued on a stream of its own. Failing CUDA calls throw Error.
std::unique_ptr<kernels::test::BlockDevice> make_cuda_device();

}  // namespace spq::test
