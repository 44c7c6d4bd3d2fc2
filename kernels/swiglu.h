// SwiGLU (Shazeer, arXiv 2002.05202) on flat arrays, and its gradient.
#pragma once

#include <cstdint>

namespace spq::kernels {

/// product = silu(gate) up, silu(g) = g / (1 + e^-g), for n values. bf16 is computed in fp32 and rounded
/// once. product may be gate or up.
template <class T>
void swiglu(const T* gate, const T* up, T* product, int64_t n);

/// Gradients with respect to gate and up, given that of the product, in one pass. Outputs may be inputs.
template <class T>
void swiglu_backward(const T* gate, const T* up, const T* grad_product, T* grad_gate, T* grad_up, int64_t n);

}  // namespace spq::kernels
