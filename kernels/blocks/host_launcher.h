// Runs a block kernel on the host.
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/error.h"
#include "kernels/blocks/host_block.h"
#include "kernels/blocks/launch.h"

namespace spq::kernels::blocks {

/// Shared memory of a block of an H100.
inline constexpr int64_t kHostShared = 227 * 1024;

template <class Kernel>
LaunchResult HostLauncher::operator()(const Kernel& kernel) const {
  const LaunchShape shape = kernel.shape();
  SPQ_ASSERT(shape.threads % kWarp == 0 && shape.threads > 0 && shape.threads <= Kernel::kMaxThreads);
  if (shape.shared_bytes > kHostShared) return {nullptr, shape.shared_bytes, kHostShared};
  constexpr int64_t kBlocks = 3;  // few, so that each does several parts of the work, as in the largest grids
  const int64_t count = std::min(shape.blocks, kBlocks);
  for (int64_t b = 0; b < count; ++b) {
    HostBlock block(shape, reversed ? count - 1 - b : b, count, reversed);
    kernel(block);
    block.finish();
  }
  return {};
}

}  // namespace spq::kernels::blocks
