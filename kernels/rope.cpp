#include "kernels/rope.h"

#include "kernels/bfloat16.h"

namespace spq::kernels {

template <class T, class A>
void rope_rows(T* x, const A* cos, const A* sin, int64_t tokens, int64_t heads, int64_t head_dim,
               RopeDirection direction) {
  const int64_t half = head_dim / 2;
  const A sign = direction == RopeDirection::kForward ? A{1} : A{-1};
  for (int64_t t = 0; t < tokens; ++t, cos += half, sin += half) {
    for (int64_t h = 0; h < heads; ++h, x += head_dim) {
      for (int64_t j = 0; j < half; ++j) {
        const A a = static_cast<A>(x[j]);
        const A b = static_cast<A>(x[j + half]);
        const A s = sign * sin[j];
        x[j] = static_cast<T>(a * cos[j] - b * s);
        x[j + half] = static_cast<T>(b * cos[j] + a * s);
      }
    }
  }
}

template void rope_rows<float, float>(float*, const float*, const float*, int64_t, int64_t, int64_t,
                                      RopeDirection);
template void rope_rows<double, double>(double*, const double*, const double*, int64_t, int64_t, int64_t,
                                        RopeDirection);
template void rope_rows<bfloat16, float>(bfloat16*, const float*, const float*, int64_t, int64_t, int64_t,
                                         RopeDirection);

}  // namespace spq::kernels
