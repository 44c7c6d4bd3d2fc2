#include "kernels/cross_entropy.h"

#include <algorithm>
#include <cmath>

#include "kernels/bfloat16.h"
#include "kernels/exponential.h"
#include "kernels/isa.h"
#include "kernels/map_row.h"
#include "kernels/reduce_row.h"

namespace spq::kernels {
namespace {

// sum_j e^(x_j - top). Blocks of fp32 lanes, added in double: the vocabulary is long.
template <class T, class A>
double sum_exp(const T* x, int64_t n, A top) {
  constexpr int64_t kBlock = 64 * kLanes;
  double sum = 0;
  for (int64_t begin = 0; begin < n; begin += kBlock) {
    const T* const block[] = {x + begin};
    sum += static_cast<double>(sum_row<A>(block, std::min(kBlock, n - begin),
                                          [top](const A(&v)[1]) { return row_exp(v[0] - top); }));
  }
  return sum;
}

}  // namespace

template <class T>
void cross_entropy_rows(T* logits, const int64_t* targets, double* losses, int64_t rows, int64_t vocab,
                        double grad_scale) {
  using A = Accumulate<T>;
  run_vectorised([=] {
    for (int64_t r = 0; r < rows; ++r) {
      T* x = logits + r * vocab;
      const A top = min_max<T, A>(x, vocab).max;
      const double sum = sum_exp<T, A>(x, vocab, top);
      const A at_target = static_cast<A>(x[targets[r]]);
      losses[r] = std::log(sum) + static_cast<double>(top) - static_cast<double>(at_target);
      if (grad_scale == 0) continue;
      const A factor = static_cast<A>(grad_scale / sum);
      const A target_gradient = row_exp(at_target - top) * factor - static_cast<A>(grad_scale);
      map_row<T>({x}, {x}, vocab,
                 [=](const A(&in)[1], A(&out)[1]) { out[0] = row_exp(in[0] - top) * factor; });
      x[targets[r]] = narrow<T>(target_gradient);
    }
  });
}

template void cross_entropy_rows<float>(float*, const int64_t*, double*, int64_t, int64_t, double);
template void cross_entropy_rows<double>(double*, const int64_t*, double*, int64_t, int64_t, double);
template void cross_entropy_rows<bfloat16>(bfloat16*, const int64_t*, double*, int64_t, int64_t, double);

}  // namespace spq::kernels
