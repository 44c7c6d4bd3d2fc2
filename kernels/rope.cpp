#include "kernels/rope.h"

#include "kernels/bfloat16.h"
#include "kernels/isa.h"

namespace spq::kernels {
namespace {

template <class T, class A>
void rotate_head(T* x, const A* cos, const A* sin, int64_t half, A sign) {
  SPQ_INDEPENDENT
  for (int64_t j = 0; j < half; ++j) {
    const A a = static_cast<A>(x[j]);
    const A b = static_cast<A>(x[j + half]);
    const A s = sign * sin[j];
    x[j] = narrow<T>(a * cos[j] - b * s);
    x[j + half] = narrow<T>(b * cos[j] + a * s);
  }
}

}  // namespace

template <class T, class A>
void rope_rows(T* x, const A* cos, const A* sin, int64_t tokens, int64_t heads, int64_t head_dim,
               RopeDirection direction) {
  const int64_t half = head_dim / 2;
  const A sign = direction == RopeDirection::kForward ? A{1} : A{-1};
  run_vectorised([=] {
    for (int64_t t = 0; t < tokens; ++t) {
      for (int64_t h = 0; h < heads; ++h) {
        rotate_head(x + (t * heads + h) * head_dim, cos + t * half, sin + t * half, half, sign);
      }
    }
  });
}

template void rope_rows<float, float>(float*, const float*, const float*, int64_t, int64_t, int64_t,
                                      RopeDirection);
template void rope_rows<double, double>(double*, const double*, const double*, int64_t, int64_t, int64_t,
                                        RopeDirection);
template void rope_rows<bfloat16, float>(bfloat16*, const float*, const float*, int64_t, int64_t, int64_t,
                                         RopeDirection);

}  // namespace spq::kernels
