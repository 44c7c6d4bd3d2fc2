// What carries the tensors of ranks that compute on GPUs.
#pragma once

#include <c10/core/Device.h>

#include <memory>

#include "dist/communicator.h"
#include "dist/device_runtime.h"
#include "dist/nccl_options.h"

namespace spq::dist {

enum class DeviceLink {
  kAuto,    // kNccl where every rank has a device of its own and there are several, else kStaged
  kNccl,    // dist/nccl_communicator.h
  kStaged,  // dist/staged_communicator.h
};

/// A communicator for tensors on `device` (from open_device) and in host memory; the latter go to `host`,
/// which must outlive it. `timeout` as in Communicator::set_timeout, of the device's collectives and of
/// setting up. Collective; AgreedError where NCCL is needed and missing, or differs between ranks.
std::unique_ptr<Communicator> make_device_communicator(Communicator& host, c10::Device device,
                                                       double timeout);

/// The same on any device.
std::unique_ptr<Communicator> make_device_communicator(Communicator& host,
                                                       std::shared_ptr<DeviceRuntime> runtime,
                                                       const NcclOptions& options, DeviceLink link);

}  // namespace spq::dist
