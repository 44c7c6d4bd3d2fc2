// The device of this rank's part of a run, and what its tensors travel over.
#pragma once

#include <c10/core/Device.h>

#include <cstdint>
#include <memory>
#include <string>

#include "core/compute_device.h"
#include "dist/communicator.h"

namespace spq::model {

class RunDevice {
 public:
  /// Takes the GPU of this rank's place on its host, or the CPU, as `asked` says (dist/device.h), and makes
  /// LibTorch's products exact there. Collective over `host`, which must outlive this object. AgreedError
  /// where a GPU is asked for and cannot be had.
  RunDevice(dist::Communicator& host, ComputeDevice asked);

  c10::Device device() const { return device_; }
  bool is_gpu() const { return device_.is_cuda(); }
  /// "CPU (no NVIDIA driver answers)": in parentheses, what there is to say about the choice.
  std::string describe() const;

  /// Bytes of the GPU that this rank may still allocate, the rest going to the host's other ranks on the same
  /// GPU; 0 on the CPU. Collective.
  int64_t available_memory() const;

  /// A communicator for tensors on the device and in host memory: `host` itself on the CPU. Once,
  /// collective; it lives as long as this object. `timeout` as in Communicator::set_timeout.
  dist::Communicator& connect(double timeout);

 private:
  dist::Communicator& host_;
  c10::Device device_ = c10::DeviceType::CPU;
  std::string note_;
  std::unique_ptr<dist::Communicator> communicator_;
};

}  // namespace spq::model
