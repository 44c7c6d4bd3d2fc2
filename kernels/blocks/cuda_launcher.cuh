// Starts a block kernel on the current CUDA device.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/blocks/cuda_block.cuh"
#include "kernels/blocks/launch.h"

namespace spq::kernels::blocks {

template <class Kernel>
__global__ void __launch_bounds__(Kernel::kMaxThreads) run_blocks(const __grid_constant__ Kernel kernel) {
  CudaBlock block;
  kernel(block);
}

inline LaunchResult result_of(cudaError_t status) {
  return {status == cudaSuccess ? nullptr : cudaGetErrorString(status)};
}

/// Shared memory beyond what every device gives without being asked.
template <class Kernel>
LaunchResult allow_shared(int64_t bytes) {
  constexpr int64_t kAlways = 48 * 1024;
  if (bytes <= kAlways) return {};
  int device = 0;
  int there = 0;
  cudaError_t status = cudaGetDevice(&device);
  if (status == cudaSuccess) {
    status = cudaDeviceGetAttribute(&there, cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
  }
  if (status != cudaSuccess) return result_of(status);
  if (bytes > there) return {nullptr, bytes, there};
  return result_of(cudaFuncSetAttribute(run_blocks<Kernel>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                        static_cast<int>(bytes)));
}

template <class Kernel>
LaunchResult CudaLauncher::operator()(const Kernel& kernel) const {
  const LaunchShape shape = kernel.shape();
  if (shape.blocks == 0) return {};
  const LaunchResult allowed = allow_shared<Kernel>(shape.shared_bytes);
  if (!allowed.ok()) return allowed;
  const auto grid = static_cast<unsigned>(shape.blocks < kLargestGrid ? shape.blocks : kLargestGrid);
  run_blocks<<<grid, static_cast<unsigned>(shape.threads), static_cast<size_t>(shape.shared_bytes),
               static_cast<cudaStream_t>(stream)>>>(kernel);
  return result_of(cudaGetLastError());
}

}  // namespace spq::kernels::blocks
