#include "tests/gpu/cuda_device.h"

#include "core/error.h"

#if SPQ_WITH_CUDA
#include <cuda_runtime.h>
#endif

namespace spq::test {

#if SPQ_WITH_CUDA
namespace {

void check_cuda(cudaError_t status, const char* what) {
  check(status == cudaSuccess, "{}: {}", what, cudaGetErrorString(status));
}

class CudaDevice : public kernels::test::BlockDevice {
 public:
  CudaDevice() { check_cuda(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreate"); }
  ~CudaDevice() override { static_cast<void>(cudaStreamDestroy(stream_)); }
  CudaDevice(const CudaDevice&) = delete;
  CudaDevice& operator=(const CudaDevice&) = delete;

  kernels::BlockTarget target() const override { return kernels::BlockTarget::cuda(stream_); }
  void* allocate(size_t bytes) override {
    void* memory = nullptr;
    check_cuda(cudaMalloc(&memory, bytes), "cudaMalloc");
    return memory;
  }
  void release(void* memory) override { static_cast<void>(cudaFree(memory)); }
  void copy_in(void* to, const void* from, size_t bytes) override {
    check_cuda(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, stream_), "cudaMemcpyAsync");
    check_cuda(cudaStreamSynchronize(stream_), "cudaStreamSynchronize");
  }
  void copy_out(void* to, const void* from, size_t bytes) override {
    check_cuda(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, stream_), "cudaMemcpyAsync");
    check_cuda(cudaStreamSynchronize(stream_), "cudaStreamSynchronize");
  }

 private:
  cudaStream_t stream_ = nullptr;
};

}  // namespace

std::unique_ptr<kernels::test::BlockDevice> make_cuda_device() {
  return std::make_unique<CudaDevice>();
}
#else
std::unique_ptr<kernels::test::BlockDevice> make_cuda_device() {
  fail("built without CUDA");
}
#endif

}  // namespace spq::test
