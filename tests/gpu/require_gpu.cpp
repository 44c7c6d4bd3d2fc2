#include "tests/gpu/require_gpu.h"

#if SPQ_WITH_CUDA
#include <cuda_runtime.h>
#endif

namespace spq::test {

std::string gpu_obstacle() {
#if SPQ_WITH_CUDA
  int devices = 0;
  const cudaError_t status = cudaGetDeviceCount(&devices);
  if (status != cudaSuccess) return cudaGetErrorString(status);
  return devices > 0 ? "" : "the driver has no CUDA device";
#else
  return "built without CUDA";
#endif
}

}  // namespace spq::test
