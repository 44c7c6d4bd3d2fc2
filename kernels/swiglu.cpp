#include "kernels/swiglu.h"

#include "kernels/bfloat16.h"
#include "kernels/exponential.h"
#include "kernels/isa.h"

namespace spq::kernels {

template <class T>
void swiglu(const T* gate, const T* up, T* product, int64_t n) {
  using A = Accumulate<T>;
  run_vectorised([=] {
    SPQ_INDEPENDENT
    for (int64_t i = 0; i < n; ++i) {
      const A g = static_cast<A>(gate[i]);
      product[i] = narrow<T>(g / (A{1} + row_exp(-g)) * static_cast<A>(up[i]));
    }
  });
}

template <class T>
void swiglu_backward(const T* gate, const T* up, const T* grad_product, T* grad_gate, T* grad_up, int64_t n) {
  using A = Accumulate<T>;
  run_vectorised([=] {
    SPQ_INDEPENDENT
    for (int64_t i = 0; i < n; ++i) {
      const A g = static_cast<A>(gate[i]);
      const A u = static_cast<A>(up[i]);
      const A grad = static_cast<A>(grad_product[i]);
      const A sigmoid = A{1} / (A{1} + row_exp(-g));
      const A silu = g * sigmoid;
      grad_up[i] = narrow<T>(grad * silu);
      grad_gate[i] = narrow<T>(grad * u * (sigmoid + silu * (A{1} - sigmoid)));
    }
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
