// Nothing but block_target here: a test replaces this file when it is linked.
#include "model/device.h"

#include <c10/core/impl/VirtualGuardImpl.h>

namespace spq::model {

std::optional<kernels::BlockTarget> block_target(const at::Tensor& t) {
  if (!t.is_cuda()) return std::nullopt;
  // Through LibTorch's table of devices, so that no CUDA header and no CUDA library is needed here.
  const c10::impl::VirtualGuardImpl cuda(c10::DeviceType::CUDA);
  return kernels::BlockTarget::cuda(cuda.getStreamNativeHandle(cuda.getStream(t.device())));
}

}  // namespace spq::model
