#include "kernels/rms_norm.h"

#include <cmath>

#include "kernels/bfloat16.h"
#include "kernels/isa.h"
#include "kernels/map_row.h"
#include "kernels/quant_row.h"
#include "kernels/reduce_row.h"

namespace spq::kernels {
namespace {

// Of a row.
template <class T>
Accumulate<T> inverse_rms(const T* x, int64_t cols, double eps) {
  using A = Accumulate<T>;
  return A{1} / std::sqrt(dot<T, A>(x, x, cols) / static_cast<A>(cols) + static_cast<A>(eps));
}

}  // namespace

template <class T>
void rms_norm(const T* x, T* y, int64_t rows, int64_t cols, double eps) {
  using A = Accumulate<T>;
  run_vectorised([=] {
    for (int64_t begin = 0; begin < rows * cols; begin += cols) {
      const A r = inverse_rms(x + begin, cols, eps);
      map_row<T>({x + begin}, {y + begin}, cols, [r](const A(&in)[1], A(&out)[1]) { out[0] = in[0] * r; });
    }
  });
}

template <class T>
void rms_norm_quant(const T* x, T* x_hat, T* error, int64_t rows, int64_t cols, double eps,
                    const QuantSpec& spec) {
  run_vectorised([&] {
    for_outputs(x_hat, error, [&]<bool kWriteHat, bool kWriteError>() {
      for (int64_t row = 0; row < rows * cols; row += cols) {
        const Times<T> normed{inverse_rms(x + row, cols, eps)};
        quant_row<kWriteHat, kWriteError>(x + row, normed, at(x_hat, row), at(error, row), cols, spec);
      }
    });
  });
}

template <class T>
void rms_norm_backward_add(const T* x, const T* dy, T* dx, int64_t rows, int64_t cols, double eps) {
  using A = Accumulate<T>;
  run_vectorised([=] {
    for (int64_t begin = 0; begin < rows * cols; begin += cols) {
      const A r = inverse_rms(x + begin, cols, eps);
      const A slope = dot<T, A>(dy + begin, x + begin, cols) * r * r * r / static_cast<A>(cols);
      map_row<T>({x + begin, dy + begin, dx + begin}, {dx + begin}, cols,
                 [r, slope](const A(&in)[3], A(&out)[1]) {
                   const auto [value, gradient, sum] = in;
                   out[0] = sum + (r * gradient - slope * value);
                 });
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
