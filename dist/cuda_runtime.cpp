#include "dist/cuda_runtime.h"

#include <ATen/ops/empty.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAStream.h>
#include <cuda_runtime_api.h>

#include "core/error.h"

namespace spq::dist {

namespace {

void check_cuda(cudaError_t code, const char* call) {
  check(code == cudaSuccess, "{} failed: {}", call, cudaGetErrorString(code));
}

cudaStream_t stream_of(DeviceStream stream) {
  return static_cast<cudaStream_t>(stream);
}

class CudaEvent final : public DeviceEvent {
 public:
  explicit CudaEvent(DeviceStream stream) {
    check_cuda(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming), "cudaEventCreate");
    const cudaError_t code = cudaEventRecord(event_, stream_of(stream));
    if (code != cudaSuccess) cudaEventDestroy(event_);
    check_cuda(code, "cudaEventRecord");
  }
  ~CudaEvent() override { cudaEventDestroy(event_); }
  CudaEvent(const CudaEvent&) = delete;
  CudaEvent& operator=(const CudaEvent&) = delete;

  void hold(DeviceStream stream) override {
    check_cuda(cudaStreamWaitEvent(stream_of(stream), event_, 0), "cudaStreamWaitEvent");
  }
  bool is_done() override {
    const cudaError_t code = cudaEventQuery(event_);
    if (code == cudaErrorNotReady) return false;
    check_cuda(code, "cudaEventQuery");
    return true;
  }
  void wait() override { check_cuda(cudaEventSynchronize(event_), "cudaEventSynchronize"); }

 private:
  cudaEvent_t event_ = nullptr;
};

class CudaRuntime final : public DeviceRuntime {
 public:
  explicit CudaRuntime(c10::Device device) : device_(device) {}

  c10::Device device() const override { return device_; }
  bool owns(const at::Tensor& tensor) const override { return tensor.device() == device_; }

  std::string identity() const override {
    cudaDeviceProp properties{};
    check_cuda(cudaGetDeviceProperties(&properties, device_.index()), "cudaGetDeviceProperties");
    std::string text;
    // Not its number: with one visible GPU per rank, every rank calls its own 0.
    for (const char byte : properties.uuid.bytes) text += fmt::format("{:02x}", static_cast<uint8_t>(byte));
    return text;
  }

  void bind_thread() override { use_cuda_device(device_.index()); }

  at::Tensor empty_on_device(at::IntArrayRef sizes, at::ScalarType dtype) override {
    return at::empty(sizes, at::TensorOptions(dtype).device(device_));
  }
  at::Tensor empty_on_host(at::IntArrayRef sizes, at::ScalarType dtype) override {
    return at::empty(sizes, at::TensorOptions(dtype).pinned_memory(true));
  }

  DeviceStream compute_stream() override { return c10::cuda::getCurrentCUDAStream(device_.index()).stream(); }
  DeviceStream other_stream(const std::string&) override {
    // High priority: a transfer that is ready should not queue behind the blocks of a large product.
    return c10::cuda::getStreamFromPool(/*isHighPriority=*/true, device_.index()).stream();
  }
  std::shared_ptr<DeviceEvent> record(DeviceStream stream) override {
    return std::make_shared<CudaEvent>(stream);
  }

  void copy(const at::Tensor& from, const at::Tensor& to, DeviceStream stream) override {
    SPQ_ASSERT(from.nbytes() == to.nbytes() && from.is_contiguous() && to.is_contiguous());
    if (from.nbytes() == 0) return;
    check_cuda(cudaMemcpyAsync(to.mutable_data_ptr(), from.const_data_ptr(), from.nbytes(), cudaMemcpyDefault,
                               stream_of(stream)),
               "cudaMemcpyAsync");
  }
  void keep(const at::Tensor& tensor, DeviceStream stream) override {
    c10::cuda::CUDACachingAllocator::recordStream(
        tensor.storage().data_ptr(), c10::cuda::getStreamFromExternal(stream_of(stream), device_.index()));
  }

 private:
  c10::Device device_;
};

}  // namespace

CudaDevices find_cuda_devices() {
  CudaDevices found;
  const cudaError_t code = cudaGetDeviceCount(&found.count);
  if (code == cudaSuccess && found.count > 0) return found;
  found.count = 0;
  found.problem = code == cudaSuccess
                      ? "there is no CUDA device"
                      : fmt::format("no CUDA device can be used: {}", cudaGetErrorString(code));
  return found;
}

void use_cuda_device(int index) {
  check_cuda(cudaSetDevice(index), "cudaSetDevice");
}

std::shared_ptr<DeviceRuntime> make_cuda_runtime(c10::Device device) {
  SPQ_ASSERT(device.is_cuda() && device.has_index());
  return std::make_shared<CudaRuntime>(device);
}

}  // namespace spq::dist
