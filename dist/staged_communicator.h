// Device tensors that travel through host memory: for ranks that share a GPU, and to check NCCL against.
#pragma once

#include <memory>
#include <vector>

#include "dist/communicator.h"
#include "dist/device_runtime.h"

namespace spq::dist {

/// Copies device tensors to the host, calls `host` with them and copies the results back; host tensors go to
/// `host` unchanged. A call blocks the host until what the compute stream has been given is through. `host`
/// must outlive the communicator.
std::unique_ptr<Communicator> make_staged_communicator(Communicator& host,
                                                       std::shared_ptr<DeviceRuntime> runtime);

/// Communicator::make_shards: rows lie in `host`'s store, where ranks of one machine share them; a gathered
/// unit is copied to one of two buffers on the device, on a stream and by a thread of its own. With one rank
/// the rows move to the device instead. `host` and `runtime` must outlive the store.
std::unique_ptr<ShardStore> make_staged_shards(Communicator& host, DeviceRuntime& runtime,
                                               std::vector<ShardUnit> units);

}  // namespace spq::dist
