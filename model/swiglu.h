// SwiGLU on tensors.
#pragma once

#include <ATen/core/Tensor.h>

namespace spq::model {

/// silu(gate) up. gate, up contiguous, of one shape and dtype.
at::Tensor swiglu(const at::Tensor& gate, const at::Tensor& up);

struct SwigluGradients {
  at::Tensor gate;
  at::Tensor up;
};

/// Gradients given that of swiglu(gate, up). grad_up overwrites grad_product, which the caller gives up.
SwigluGradients swiglu_backward(const at::Tensor& gate, const at::Tensor& up, const at::Tensor& grad_product);

}  // namespace spq::model
