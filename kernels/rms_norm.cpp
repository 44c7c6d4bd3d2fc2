#include "kernels/rms_norm.h"

#include <cmath>

#include "kernels/bfloat16.h"

namespace spq::kernels {
namespace {

// sum a_i b_i in independent lanes: vectorises, and its order does not depend on anything but n.
template <class T, class A>
A dot(const T* a, const T* b, int64_t n) {
  constexpr int64_t kLanes = 16;
  A lanes[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (int64_t j = 0; j < kLanes; ++j) lanes[j] += static_cast<A>(a[i + j]) * static_cast<A>(b[i + j]);
  }
  A sum = 0;
  for (; i < n; ++i) sum += static_cast<A>(a[i]) * static_cast<A>(b[i]);
  for (A lane : lanes) sum += lane;
  return sum;
}

template <class T, class A>
A inverse_rms(const T* x, int64_t cols, double eps) {
  const A mean = dot<T, A>(x, x, cols) / static_cast<A>(cols);
  return A{1} / std::sqrt(mean + static_cast<A>(eps));
}

}  // namespace

template <class T>
void rms_norm(const T* x, T* y, int64_t rows, int64_t cols, double eps) {
  using A = Accumulate<T>;
  for (int64_t row = 0; row < rows; ++row, x += cols, y += cols) {
    const A r = inverse_rms<T, A>(x, cols, eps);
    for (int64_t i = 0; i < cols; ++i) y[i] = static_cast<T>(static_cast<A>(x[i]) * r);
  }
}

template <class T>
void rms_norm_backward_add(const T* x, const T* dy, T* dx, int64_t rows, int64_t cols, double eps) {
  using A = Accumulate<T>;
  for (int64_t row = 0; row < rows; ++row, x += cols, dy += cols, dx += cols) {
    const A r = inverse_rms<T, A>(x, cols, eps);
    const A slope = dot<T, A>(dy, x, cols) * r * r * r / static_cast<A>(cols);
    for (int64_t i = 0; i < cols; ++i) {
      const A g = r * static_cast<A>(dy[i]) - slope * static_cast<A>(x[i]);
      dx[i] = static_cast<T>(static_cast<A>(dx[i]) + g);
    }
  }
}

template void rms_norm<float>(const float*, float*, int64_t, int64_t, double);
template void rms_norm<double>(const double*, double*, int64_t, int64_t, double);
template void rms_norm<bfloat16>(const bfloat16*, bfloat16*, int64_t, int64_t, double);
template void rms_norm_backward_add<float>(const float*, const float*, float*, int64_t, int64_t, double);
template void rms_norm_backward_add<double>(const double*, const double*, double*, int64_t, int64_t, double);
template void rms_norm_backward_add<bfloat16>(const bfloat16*, const bfloat16*, bfloat16*, int64_t, int64_t,
                                              double);

}  // namespace spq::kernels
