#include "model/swiglu.h"

#include <ATen/ops/empty_like.h>

#include "core/error.h"
#include "kernels/swiglu.h"
#include "model/device.h"
#include "model/rows.h"

namespace spq::model {

at::Tensor swiglu(const at::Tensor& gate, const at::Tensor& up) {
  SPQ_ASSERT(gate.sizes() == up.sizes());
  const at::Tensor product = at::empty_like(gate);
  if (const auto target = block_target(gate)) {
    dispatch_block_dtype(gate.scalar_type(), [&]<class T>(T*) {
      kernels::blocks::swiglu<T>(*target, row_data<T>(gate), row_data<T>(up), row_data<T>(product),
                                 gate.numel());
    });
    return product;
  }
  dispatch_dtype(gate.scalar_type(), [&]<class T>(T*) {
    const T* g = row_data<T>(gate);
    const T* u = row_data<T>(up);
    T* out = row_data<T>(product);
    for_rows(gate.numel(), 1, [&](int64_t begin, int64_t end) {
      kernels::swiglu(g + begin, u + begin, out + begin, end - begin);
    });
  });
  return product;
}

SwigluGradients swiglu_backward(const at::Tensor& gate, const at::Tensor& up,
                                const at::Tensor& grad_product) {
  SPQ_ASSERT(gate.sizes() == up.sizes() && gate.sizes() == grad_product.sizes());
  const SwigluGradients gradients{at::empty_like(gate), grad_product};
  if (const auto target = block_target(gate)) {
    dispatch_block_dtype(gate.scalar_type(), [&]<class T>(T*) {
      kernels::blocks::swiglu_backward<T>(*target, row_data<T>(gate), row_data<T>(up),
                                          row_data<T>(grad_product), row_data<T>(gradients.gate),
                                          row_data<T>(gradients.up), gate.numel());
    });
    return gradients;
  }
  dispatch_dtype(gate.scalar_type(), [&]<class T>(T*) {
    const T* g = row_data<T>(gate);
    const T* u = row_data<T>(up);
    T* grad_gate = row_data<T>(gradients.gate);
    T* grad = row_data<T>(gradients.up);
    for_rows(gate.numel(), 1, [&](int64_t begin, int64_t end) {
      kernels::swiglu_backward(g + begin, u + begin, grad + begin, grad_gate + begin, grad + begin,
                               end - begin);
    });
  });
  return gradients;
}

}  // namespace spq::model
