// Frozen rows on their way to a device.
#pragma once

#include <vector>

#include "dist/device_runtime.h"
#include "dist/shard_store.h"

namespace spq::dist {

/// Moves this rank's rows of all units to the device. Each of the tensors is released as soon as it is
/// copied.
void move_to_device(DeviceRuntime& runtime, std::vector<ShardUnit>& units);

}  // namespace spq::dist
