#include "model/sharded_device.h"

#include <c10/core/CachingDeviceAllocator.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <vector>

#include "core/error.h"
#include "dist/collectives.h"
#include "dist/device.h"
#include "dist/device_communicator.h"
#include "model/cuda_settings.h"

namespace spq::model {
namespace {

dist::DeviceChoice choice_of(ComputeDevice asked) {
  switch (asked) {
    case ComputeDevice::kAuto:
      return dist::DeviceChoice::kAuto;
    case ComputeDevice::kCpu:
      return dist::DeviceChoice::kCpu;
    case ComputeDevice::kCuda:
      return dist::DeviceChoice::kCuda;
  }
  fail("unknown compute.device");
}

std::string host_name() {
  std::array<char, 256> name{};
  check(gethostname(name.data(), name.size() - 1) == 0, "cannot read this host's name");
  return name.data();
}

}  // namespace

RunDevice::RunDevice(dist::Communicator& host, ComputeDevice asked) : host_(host) {
  const dist::RankDevice opened = dist::open_device(host, choice_of(asked));
  device_ = opened.device;
  note_ = opened.note;
  if (is_gpu()) use_exact_cuda_products();
}

std::string RunDevice::describe() const {
  const std::string name = is_gpu() ? device_.str() : "CPU";
  return note_.empty() ? name : fmt::format("{} ({})", name, note_);
}

int64_t RunDevice::available_memory() const {
  const std::string mine = fmt::format("{} {}", host_name(), device_.str());
  const std::vector<std::string> all = dist::gather_texts(host_, mine);
  if (!is_gpu()) return 0;
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
