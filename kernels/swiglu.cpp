#include "kernels/swiglu.h"

#include "kernels/bfloat16.h"
#include "kernels/exponential.h"
#include "kernels/isa.h"
#include "kernels/map_row.h"

namespace spq::kernels {

template <class T>
void swiglu(const T* gate, const T* up, T* product, int64_t n) {
  using A = Accumulate<T>;
  run_vectorised([=] {
    map_row<T>({gate, up}, {product}, n, [](const A(&in)[2], A(&out)[1]) {
      const auto [g, u] = in;
      out[0] = g / (A{1} + row_exp(-g)) * u;
    });
  });
}

template <class T>
void swiglu_backward(const T* gate, const T* up, const T* grad_product, T* grad_gate, T* grad_up, int64_t n) {
  using A = Accumulate<T>;
  run_vectorised([=] {
    map_row<T>({gate, up, grad_product}, {grad_gate, grad_up}, n, [](const A(&in)[3], A(&out)[2]) {
      const auto [g, u, grad] = in;
      const A sigmoid = A{1} / (A{1} + row_exp(-g));
      const A silu = g * sigmoid;
      out[0] = grad * u * (sigmoid + silu * (A{1} - sigmoid));
      out[1] = grad * silu;
    });
  });
}

template void swiglu<float>(const float*, const float*, float*, int64_t);
template void swiglu<double>(const double*, const double*, double*, int64_t);
template void swiglu<bfloat16>(const bfloat16*, const bfloat16*, bfloat16*, int64_t);
template void swiglu_backward<float>(const float*, const float*, const float*, float*, float*, int64_t);
template void swiglu_backward<double>(const double*, const double*, const double*, double*, double*, int64_t);
template void swiglu_backward<bfloat16>(const bfloat16*, const bfloat16*, const bfloat16*, bfloat16*,
                                        bfloat16*, int64_t);

}  // namespace spq::kernels
