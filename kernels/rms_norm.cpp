#include "kernels/rms_norm.h"

#include <cmath>

#include "kernels/bfloat16.h"
#include "kernels/isa.h"
#include "kernels/quant_row.h"
#include "kernels/reduce_row.h"

namespace spq::kernels {
namespace {

template <class A>
A inverse_rms(A sum_of_squares, int64_t cols, double eps) {
  return A{1} / std::sqrt(sum_of_squares / static_cast<A>(cols) + static_cast<A>(eps));
}

// Extremes of the normalised group: r > 0 and rounding keep the order.
template <class T, class A>
MinMax<A> normed_min_max(const T* x, int64_t n, A r) {
  const MinMax<A> m = min_max<T, A>(x, n);
  return {rounded<T>(m.min * r), rounded<T>(m.max * r)};
}

}  // namespace

template <class T>
void rms_norm(const T* x, T* y, int64_t rows, int64_t cols, double eps) {
  using A = Accumulate<T>;
  run_vectorised([=] {
    for (int64_t begin = 0; begin < rows * cols; begin += cols) {
      const A r = inverse_rms(dot<T, A>(x + begin, x + begin, cols), cols, eps);
      SPQ_INDEPENDENT
      for (int64_t i = begin; i < begin + cols; ++i) y[i] = narrow<T>(static_cast<A>(x[i]) * r);
    }
  });
}

template <class T>
void rms_norm_quant(const T* x, T* x_hat, T* error, int64_t rows, int64_t cols, double eps,
                    const QuantSpec& spec) {
  using A = Accumulate<T>;
  const int64_t length = group_length(cols, spec);
  run_vectorised([&] {
    for_outputs(x_hat, error, [&]<bool kWriteHat, bool kWriteError>() {
      for (int64_t row = 0; row < rows * cols; row += cols) {
        const A r = inverse_rms(dot<T, A>(x + row, x + row, cols), cols, eps);
        for (int64_t begin = row; begin < row + cols; begin += length) {
          const QuantRange<A> range = range_between(normed_min_max<T, A>(x + begin, length, r), spec);
          quant_group<kWriteHat, kWriteError>(
              [x, r](int64_t i) { return rounded<T>(static_cast<A>(x[i]) * r); }, x_hat, error, begin,
              begin + length, range);
        }
      }
    });
  });
}

template <class T>
void rms_norm_backward_add(const T* x, const T* dy, T* dx, int64_t rows, int64_t cols, double eps) {
  using A = Accumulate<T>;
  run_vectorised([=] {
    for (int64_t begin = 0; begin < rows * cols; begin += cols) {
      const A r = inverse_rms(dot<T, A>(x + begin, x + begin, cols), cols, eps);
      const A slope = dot<T, A>(dy + begin, x + begin, cols) * r * r * r / static_cast<A>(cols);
      SPQ_INDEPENDENT
      for (int64_t i = begin; i < begin + cols; ++i) {
        const A g = r * static_cast<A>(dy[i]) - slope * static_cast<A>(x[i]);
        dx[i] = narrow<T>(static_cast<A>(dx[i]) + g);
      }
    }
  });
}

template void rms_norm<float>(const float*, float*, int64_t, int64_t, double);
template void rms_norm<double>(const double*, double*, int64_t, int64_t, double);
template void rms_norm<bfloat16>(const bfloat16*, bfloat16*, int64_t, int64_t, double);
template void rms_norm_quant<float>(const float*, float*, float*, int64_t, int64_t, double, const QuantSpec&);
template void rms_norm_quant<double>(const double*, double*, double*, int64_t, int64_t, double,
                                     const QuantSpec&);
template void rms_norm_quant<bfloat16>(const bfloat16*, bfloat16*, bfloat16*, int64_t, int64_t, double,
                                       const QuantSpec&);
template void rms_norm_backward_add<float>(const float*, const float*, float*, int64_t, int64_t, double);
template void rms_norm_backward_add<double>(const double*, const double*, double*, int64_t, int64_t, double);
template void rms_norm_backward_add<bfloat16>(const bfloat16*, const bfloat16*, bfloat16*, int64_t, int64_t,
                                              double);

}  // namespace spq::kernels
