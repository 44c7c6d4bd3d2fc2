// Ranks with a GPU each: tensors on the GPUs travel over NCCL, those in host memory as before.
#pragma once

#include <memory>
#include <vector>

#include "dist/communicator.h"
#include "dist/device_runtime.h"
#include "dist/nccl_options.h"

namespace spq::dist {

class NcclTransport;

/// Collective over `host`, which must outlive the communicator and carries what is in host memory. Other
/// errors than those of Communicator: AgreedError where NCCL is missing on a rank or has different versions.
std::unique_ptr<Communicator> make_nccl_communicator(Communicator& host,
                                                     std::shared_ptr<DeviceRuntime> runtime,
                                                     const NcclOptions& options);

/// Communicator::make_shards over NCCL: rows move to the device one by one, each unit's matrices are gathered
/// as one group into one of two buffers there. `transport` must outlive the store.
std::unique_ptr<ShardStore> make_nccl_shards(Communicator& host, NcclTransport& transport,
                                             std::vector<ShardUnit> units);

}  // namespace spq::dist
