// Which row kernels work on a tensor: the CPU's, or the block kernels of a GPU.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

#include "core/error.h"
#include "kernels/bfloat16.h"
#include "kernels/blocks.h"

namespace spq::model {

/// None where the CPU's row kernels do the work, over threads (model/rows.h): tensors in host memory. For one
/// on a GPU the block kernels, queued on that GPU's current stream; it has to be the current device.
std::optional<kernels::BlockTarget> block_target(const at::Tensor& t);

/// Calls body with a null pointer of the element type of `dtype`: float or kernels::bfloat16, all that block
/// kernels know.
template <class Body>
void dispatch_block_dtype(at::ScalarType dtype, const Body& body) {
  switch (dtype) {
    case at::kFloat:
      return body(static_cast<float*>(nullptr));
    case at::kBFloat16:
      return body(static_cast<kernels::bfloat16*>(nullptr));
    default:
      fail("no GPU kernel for dtype {}, expected Float or BFloat16", c10::toString(dtype));
  }
}

}  // namespace spq::model
