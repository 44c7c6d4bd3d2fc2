// The network on block kernels without a GPU.
#pragma once

#include <cstdint>

namespace spq::test {

/// While one lives, the rows of every tensor go through the block kernels, run thread by thread on the host,
/// and a row loop of the CPU's kernels throws std::logic_error: whatever the network does then, it does as on
/// a GPU. block_device.cpp has to be among the program's sources; it takes the place of model/device.cpp and
/// model/rows.cpp.
class ThroughBlocks {
 public:
  ThroughBlocks();
  ~ThroughBlocks();
  ThroughBlocks(const ThroughBlocks&) = delete;
  ThroughBlocks& operator=(const ThroughBlocks&) = delete;

  /// How often a block kernel was asked for since this one was made.
  int64_t uses() const;
};

}  // namespace spq::test
