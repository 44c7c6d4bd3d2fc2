#include "kernels/blocks.h"

#include <type_traits>

#include "core/error.h"
#include "kernels/bfloat16.h"
#include "kernels/blocks/launch.h"

namespace spq::kernels {

bool built_with_cuda() {
  return SPQ_WITH_CUDA;
}

namespace blocks {
namespace {

void check_result(const char* kernel, const LaunchResult& result) {
  check(result.shared_wanted <= result.shared_there,
        "{}: a block needs {} bytes of shared memory, the device has {}", kernel, result.shared_wanted,
        result.shared_there);
  check(result.problem == nullptr, "{}: CUDA says: {}", kernel, result.problem ? result.problem : "");
}

// Calls body(launcher) with the launcher of the target, and turns what it returns into an Error.
template <class Body>
void on(const BlockTarget& target, const char* kernel, const Body& body) {
  if (!target.is_cuda()) return check_result(kernel, body(HostLauncher{target.is_reversed()}));
#if SPQ_WITH_CUDA
  check_result(kernel, body(CudaLauncher{target.stream()}));
#else
  fail("{}: this program was built without CUDA", kernel);
#endif
}

}  // namespace

template <class T>
void fake_quant_rows(const BlockTarget& target, const T* x, T* x_hat, T* error, int64_t rows, int64_t cols,
                     const QuantSpec& spec) {
  on(target, "fake_quant_rows",
     [&](const auto& launch) { return launch_fake_quant<T>(launch, x, x_hat, error, rows, cols, spec); });
}

template <class T>
void hadamard_rows(const BlockTarget& target, const T* x, T* y, int64_t rows, const HadamardPlan& plan,
                   HadamardDirection direction) {
  on(target, "hadamard_rows",
     [&](const auto& launch) { return launch_hadamard<T>(launch, x, y, rows, plan, direction); });
}

template <class T>
void hadamard_quant_rows(const BlockTarget& target, const T* x, T* x_hat, T* error, int64_t rows,
                         const HadamardPlan& plan, const QuantSpec& spec) {
  on(target, "hadamard_quant_rows",
     [&](const auto& launch) { return launch_hadamard_quant<T>(launch, x, x_hat, error, rows, plan, spec); });
}

template <class T>
void rms_norm(const BlockTarget& target, const T* x, T* y, int64_t rows, int64_t cols, double eps) {
  on(target, "rms_norm",
     [&](const auto& launch) { return launch_rms_norm<T>(launch, x, y, rows, cols, eps); });
}

template <class T>
void rms_norm_quant(const BlockTarget& target, const T* x, T* x_hat, T* error, int64_t rows, int64_t cols,
                    double eps, const QuantSpec& spec) {
  on(target, "rms_norm_quant", [&](const auto& launch) {
    return launch_rms_norm_quant<T>(launch, x, x_hat, error, rows, cols, eps, spec);
  });
}

template <class T>
void rms_norm_backward_add(const BlockTarget& target, const T* x, const T* dy, T* dx, int64_t rows,
                           int64_t cols, double eps) {
  on(target, "rms_norm_backward_add",
     [&](const auto& launch) { return launch_rms_norm_backward_add<T>(launch, x, dy, dx, rows, cols, eps); });
}

template <class T>
void rope_rows(const BlockTarget& target, T* x, const float* cos, const float* sin, int64_t tokens,
               int64_t heads, int64_t head_dim, RopeDirection direction) {
  on(target, "rope_rows", [&](const auto& launch) {
    return launch_rope<T>(launch, x, cos, sin, tokens, heads, head_dim, direction);
  });
}

template <class T>
void swiglu(const BlockTarget& target, const T* gate, const T* up, T* product, int64_t n) {
  on(target, "swiglu", [&](const auto& launch) { return launch_swiglu<T>(launch, gate, up, product, n); });
}

template <class T>
void swiglu_backward(const BlockTarget& target, const T* gate, const T* up, const T* grad_product,
                     T* grad_gate, T* grad_up, int64_t n) {
  on(target, "swiglu_backward", [&](const auto& launch) {
    return launch_swiglu_backward<T>(launch, gate, up, grad_product, grad_gate, grad_up, n);
  });
}

template <class T>
void cross_entropy_rows(const BlockTarget& target, T* logits, const int64_t* targets, double* losses,
                        int64_t rows, int64_t vocab, double grad_scale) {
  on(target, "cross_entropy_rows", [&](const auto& launch) {
    return launch_cross_entropy<T>(launch, logits, targets, losses, rows, vocab, grad_scale);
  });
}

#define SPQ_INSTANTIATE(T)                                                                                  \
  template void fake_quant_rows<T>(const BlockTarget&, const T*, T*, T*, int64_t, int64_t,                  \
                                   const QuantSpec&);                                                       \
  template void hadamard_rows<T>(const BlockTarget&, const T*, T*, int64_t, const HadamardPlan&,            \
                                 HadamardDirection);                                                        \
  template void hadamard_quant_rows<T>(const BlockTarget&, const T*, T*, T*, int64_t, const HadamardPlan&,  \
                                       const QuantSpec&);                                                   \
  template void rms_norm<T>(const BlockTarget&, const T*, T*, int64_t, int64_t, double);                    \
  template void rms_norm_quant<T>(const BlockTarget&, const T*, T*, T*, int64_t, int64_t, double,           \
                                  const QuantSpec&);                                                        \
  template void rms_norm_backward_add<T>(const BlockTarget&, const T*, const T*, T*, int64_t, int64_t,      \
                                         double);                                                           \
  template void rope_rows<T>(const BlockTarget&, T*, const float*, const float*, int64_t, int64_t, int64_t, \
                             RopeDirection);                                                                \
  template void swiglu<T>(const BlockTarget&, const T*, const T*, T*, int64_t);                             \
  template void swiglu_backward<T>(const BlockTarget&, const T*, const T*, const T*, T*, T*, int64_t);      \
  template void cross_entropy_rows<T>(const BlockTarget&, T*, const int64_t*, double*, int64_t, int64_t,    \
                                      double)

SPQ_INSTANTIATE(float);
SPQ_INSTANTIATE(bfloat16);
#undef SPQ_INSTANTIATE

}  // namespace blocks
}  // namespace spq::kernels
