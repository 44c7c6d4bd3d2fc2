#include "kernels/fake_quant.h"

#include "kernels/bfloat16.h"
#include "kernels/quant_row.h"

namespace spq::kernels {

template <class T, class A>
QuantRange<A> find_range(const T* x, int64_t n, const QuantSpec& spec) {
  return range_between(min_max<T, A>(x, n), spec);
}

template <class T>
void fake_quant_rows(const T* x, T* x_hat, T* error, int64_t rows, int64_t cols, const QuantSpec& spec) {
  run_vectorised([&] {
    for_outputs(x_hat, error, [&]<bool kWriteHat, bool kWriteError>() {
      for (int64_t row = 0; row < rows * cols; row += cols) {
        quant_row<kWriteHat, kWriteError>(x + row, AsItIs<T>(), at(x_hat, row), at(error, row), cols, spec);
      }
    });
  });
}

template <class T>
void quant_codes(const T* x, int16_t* codes, int64_t rows, int64_t cols, const QuantSpec& spec) {
  using A = Accumulate<T>;
  const int64_t length = group_length(cols, spec);
  run_vectorised([&] {
    for (int64_t begin = 0; begin < rows * cols; begin += length) {
      const QuantRange<A> range = range_between(min_max<T, A>(x + begin, length), spec);
      SPQ_INDEPENDENT
      for (int64_t i = begin; i < begin + length; ++i) {
        codes[i] = static_cast<int16_t>(code_of(static_cast<A>(x[i]), range));
      }
    }
  });
}

template QuantRange<float> find_range<float, float>(const float*, int64_t, const QuantSpec&);
template QuantRange<double> find_range<double, double>(const double*, int64_t, const QuantSpec&);
template QuantRange<float> find_range<bfloat16, float>(const bfloat16*, int64_t, const QuantSpec&);
template void fake_quant_rows<float>(const float*, float*, float*, int64_t, int64_t, const QuantSpec&);
template void fake_quant_rows<double>(const double*, double*, double*, int64_t, int64_t, const QuantSpec&);
template void fake_quant_rows<bfloat16>(const bfloat16*, bfloat16*, bfloat16*, int64_t, int64_t,
                                        const QuantSpec&);
template void quant_codes<float>(const float*, int16_t*, int64_t, int64_t, const QuantSpec&);
template void quant_codes<double>(const double*, int16_t*, int64_t, int64_t, const QuantSpec&);
template void quant_codes<bfloat16>(const bfloat16*, int16_t*, int64_t, int64_t, const QuantSpec&);

}  // namespace spq::kernels
