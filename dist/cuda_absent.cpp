// dist/cuda_runtime.h in a build without CUDA.
#include "core/error.h"
#include "dist/cuda_runtime.h"

namespace spq::dist {

namespace {
constexpr const char* kAbsent = "this program was built without CUDA";
}

CudaDevices find_cuda_devices() {
  return {0, kAbsent};
}

void use_cuda_device(int) {
  fail("{}", kAbsent);
}

std::shared_ptr<DeviceRuntime> make_cuda_runtime(c10::Device) {
  fail("{}", kAbsent);
}

}  // namespace spq::dist
