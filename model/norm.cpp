#include "model/norm.h"

#include <ATen/ops/empty_like.h>

#include "kernels/rms_norm.h"
#include "model/device.h"
#include "model/rows.h"

namespace spq::model {

at::Tensor rms_norm(const at::Tensor& x, double eps) {
  at::Tensor y = at::empty_like(x);
  const int64_t cols = x.size(-1);
  if (const auto target = block_target(x)) {
    dispatch_block_dtype(x.scalar_type(), [&]<class T>(T*) {
      kernels::blocks::rms_norm<T>(*target, row_data<T>(x), row_data<T>(y), x.numel() / cols, cols, eps);
    });
    return y;
  }
  dispatch_dtype(x.scalar_type(), [&]<class T>(T*) {
    const T* in = row_data<T>(x);
    T* out = row_data<T>(y);
    for_rows(x.numel() / cols, cols, [&](int64_t begin, int64_t end) {
      kernels::rms_norm(in + begin * cols, out + begin * cols, end - begin, cols, eps);
    });
  });
  return y;
}

void rms_norm_backward_add(const at::Tensor& x, const at::Tensor& dy, at::Tensor& dx, double eps) {
  const int64_t cols = x.size(-1);
  if (const auto target = block_target(x)) {
    return dispatch_block_dtype(x.scalar_type(), [&]<class T>(T*) {
      kernels::blocks::rms_norm_backward_add<T>(*target, row_data<T>(x), row_data<T>(dy), row_data<T>(dx),
                                                x.numel() / cols, cols, eps);
    });
  }
  dispatch_dtype(x.scalar_type(), [&]<class T>(T*) {
    const T* in = row_data<T>(x);
    const T* grad = row_data<T>(dy);
    T* out = row_data<T>(dx);
    for_rows(x.numel() / cols, cols, [&](int64_t begin, int64_t end) {
      const int64_t at = begin * cols;
      kernels::rms_norm_backward_add(in + at, grad + at, out + at, end - begin, cols, eps);
    });
  });
}

}  // namespace spq::model
