#include "model/sharded_device.h"

#include <c10/core/CachingDeviceAllocator.h>
#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "core/error.h"
#include "core/host_name.h"
#include "dist/collectives.h"
#include "dist/device.h"
#include "dist/device_communicator.h"
#include "model/cuda_settings.h"

namespace spq::model {

RunDevice::RunDevice(dist::Communicator& host, ComputeDevice asked) : host_(host) {
  const dist::RankDevice opened = dist::open_device(host, asked);
  device_ = opened.device;
  note_ = opened.note;
  if (is_gpu()) use_exact_cuda_products();
}

std::string RunDevice::describe() const {
  const std::string name = is_gpu() ? device_.str() : "CPU";
  return note_.empty() ? name : fmt::format("{} ({})", name, note_);
}

int64_t RunDevice::available_memory() const {
  if (!is_gpu()) return 0;  // on every rank
  const std::string mine = fmt::format("{} {}", host_name(), device_.str());
  const std::vector<std::string> all = dist::gather_texts(host_, mine);
  const auto [free, total] = c10::getDeviceAllocator(device_.type())->getMemoryInfo(device_.index());
  return static_cast<int64_t>(free) / std::count(all.begin(), all.end(), mine);
}

dist::Communicator& RunDevice::connect(double timeout) {
  if (!is_gpu()) return host_;
  SPQ_ASSERT(!communicator_);
  communicator_ = dist::make_device_communicator(host_, device_, timeout);
  return *communicator_;
}

}  // namespace spq::model
