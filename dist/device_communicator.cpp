#include "dist/device_communicator.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "core/error.h"
#include "dist/collectives.h"
#include "dist/cuda_runtime.h"
#include "dist/nccl_communicator.h"
#include "dist/staged_communicator.h"

namespace spq::dist {

namespace {

/// NCCL refuses two ranks on one device.
DeviceLink best_link(Communicator& host, const DeviceRuntime& runtime) {
  if (host.world_size() == 1) return DeviceLink::kStaged;  // nobody to talk to: do without the library
  std::string identity;
  collectively(host, [&] { identity = runtime.identity(); });
  std::vector<std::string> all = gather_texts(host, identity);
  std::sort(all.begin(), all.end());
  const bool is_shared = std::adjacent_find(all.begin(), all.end()) != all.end();
  return is_shared ? DeviceLink::kStaged : DeviceLink::kNccl;
}

}  // namespace

std::unique_ptr<Communicator> make_device_communicator(Communicator& host, c10::Device device,
                                                       double timeout) {
  SPQ_ASSERT(device.is_cuda());
  return make_device_communicator(host, make_cuda_runtime(device), {.timeout = timeout}, DeviceLink::kAuto);
}

std::unique_ptr<Communicator> make_device_communicator(Communicator& host,
                                                       std::shared_ptr<DeviceRuntime> runtime,
                                                       const NcclOptions& options, DeviceLink link) {
  if (link == DeviceLink::kAuto) link = best_link(host, *runtime);
  host.set_timeout(options.timeout);
  if (link == DeviceLink::kStaged) return make_staged_communicator(host, std::move(runtime));
  return make_nccl_communicator(host, std::move(runtime), options);
}

}  // namespace spq::dist
