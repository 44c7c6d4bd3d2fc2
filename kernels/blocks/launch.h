// The block kernels by name, for a launcher of either kind. Each is defined in a header of its own and
// compiled twice: by the C++ compiler for HostLauncher, by nvcc for CudaLauncher.
#pragma once

#include <cstdint>

#include "kernels/fake_quant.h"
#include "kernels/hadamard.h"
#include "kernels/rope.h"

namespace spq::kernels::blocks {

/// What kept a kernel from being started; ok() if nothing did.
struct LaunchResult {
  const char* problem = nullptr;  // static text
  int64_t shared_wanted = 0;      // bytes of shared memory, where there is not enough of it
  int64_t shared_there = 0;

  bool ok() const { return problem == nullptr && shared_wanted <= shared_there; }
};

struct HostLauncher {
  bool reversed;  // the threads of a phase in reverse order

  template <class Kernel>
  LaunchResult operator()(const Kernel& kernel) const;  // host_launcher.h
};

struct CudaLauncher {
  void* stream;

  template <class Kernel>
  LaunchResult operator()(const Kernel& kernel) const;  // cuda_launcher.cuh
};

template <class T, class Launcher>
LaunchResult launch_fake_quant(const Launcher& launch, const T* x, T* x_hat, T* error, int64_t rows,
                               int64_t cols, const QuantSpec& spec);

template <class T, class Launcher>
LaunchResult launch_hadamard(const Launcher& launch, const T* x, T* y, int64_t rows, const HadamardPlan& plan,
                             HadamardDirection direction);
template <class T, class Launcher>
LaunchResult launch_hadamard_quant(const Launcher& launch, const T* x, T* x_hat, T* error, int64_t rows,
                                   const HadamardPlan& plan, const QuantSpec& spec);

template <class T, class Launcher>
LaunchResult launch_rms_norm(const Launcher& launch, const T* x, T* y, int64_t rows, int64_t cols,
                             double eps);
template <class T, class Launcher>
LaunchResult launch_rms_norm_quant(const Launcher& launch, const T* x, T* x_hat, T* error, int64_t rows,
                                   int64_t cols, double eps, const QuantSpec& spec);
template <class T, class Launcher>
LaunchResult launch_rms_norm_backward_add(const Launcher& launch, const T* x, const T* dy, T* dx,
                                          int64_t rows, int64_t cols, double eps);

template <class T, class Launcher>
LaunchResult launch_rope(const Launcher& launch, T* x, const float* cos, const float* sin, int64_t tokens,
                         int64_t heads, int64_t head_dim, RopeDirection direction);

template <class T, class Launcher>
LaunchResult launch_swiglu(const Launcher& launch, const T* gate, const T* up, T* product, int64_t n);
template <class T, class Launcher>
LaunchResult launch_swiglu_backward(const Launcher& launch, const T* gate, const T* up, const T* grad_product,
                                    T* grad_gate, T* grad_up, int64_t n);

template <class T, class Launcher>
LaunchResult launch_cross_entropy(const Launcher& launch, T* logits, const int64_t* targets, double* losses,
                                  int64_t rows, int64_t vocab, double grad_scale);

}  // namespace spq::kernels::blocks
