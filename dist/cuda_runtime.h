// The one door to CUDA: a build without it has the same functions, which say so.
#pragma once

#include <c10/core/Device.h>

#include <memory>
#include <string>

#include "dist/device_runtime.h"

namespace spq::dist {

struct CudaDevices {
  int count = 0;
  std::string problem;  // in words, when count is 0: no CUDA in the build, no driver, no device
};

/// What this process can use. Loads nothing large.
CudaDevices find_cuda_devices();

/// Makes a device current for the calling thread.
void use_cuda_device(int index);

/// After open_device (dist/device.h), which loads the operators.
std::shared_ptr<DeviceRuntime> make_cuda_runtime(c10::Device device);

}  // namespace spq::dist
