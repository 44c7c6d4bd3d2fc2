#include "dist/device.h"

#include <ATen/Context.h>
#include <dlfcn.h>

#include <exception>

#include "core/error.h"
#include "dist/collectives.h"
#include "dist/cuda_runtime.h"

namespace spq::dist {

namespace {

// Not linked: it takes half a second to load, and a run on the CPU has no use for it.
void load_cuda_operators() {
  const void* library = dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_GLOBAL);
  check(library != nullptr, "cannot load LibTorch's CUDA operators: {}", dlerror());
  check(at::globalContext().hasCUDA(),
        "LibTorch was asked about CUDA before its CUDA operators were loaded: open the device first");
}

/// What keeps this rank from using its GPU, empty when nothing does.
std::string open_cuda_device(int local_rank, int& index) {
  const CudaDevices found = find_cuda_devices();
  if (found.count == 0) return found.problem;
  index = local_rank % found.count;
  try {
    load_cuda_operators();
    use_cuda_device(index);
  } catch (const std::exception& error) {
    return error.what();
  }
  return "";
}

}  // namespace

RankDevice open_device(Communicator& host, ComputeDevice choice) {
  const RankDevice cpu{c10::Device(c10::kCPU), ""};
  if (choice == ComputeDevice::kCpu) return cpu;
  int index = 0;
  const std::string problem = open_cuda_device(local_rank(host), index);
  try {
    agree_or_fail(host, problem);
  } catch (const AgreedError& error) {
    if (choice == ComputeDevice::kCuda)
      throw AgreedError(fmt::format("compute.device is cuda: {}", error.what()));
    return {cpu.device, error.what()};
  }
  return {c10::Device(c10::kCUDA, static_cast<c10::DeviceIndex>(index)), ""};
}

}  // namespace spq::dist
