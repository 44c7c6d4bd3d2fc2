#include "model/quant_point.h"

#include <ATen/ops/add.h>
#include <ATen/ops/empty_like.h>

#include "model/rows.h"

namespace spq::model {

PointResult quantize_point(const at::Tensor& x, const Frame& frame, const kernels::QuantSpec& spec) {
  if (!spec.enabled()) return {frame.is_one_way() ? frame.enter(x) : x, {}};
  const int64_t cols = x.size(-1);
  const at::Tensor rotated = frame.enter(x).contiguous();
  // The error may overwrite the rotated rows, unless they are x itself or are still needed.
  const bool keep_rotated = frame.is_none() || frame.is_one_way();
  const at::Tensor error = keep_rotated ? at::empty_like(rotated) : rotated;
  dispatch_dtype(x.scalar_type(), [&]<class T>(T*) {
    const T* in = row_data<T>(rotated);
    T* out = row_data<T>(error);
    for_rows(x.numel() / cols, cols, [&](int64_t begin, int64_t end) {
      kernels::fake_quant_error(in + begin * cols, out + begin * cols, end - begin, cols, spec);
    });
  });
  if (frame.is_one_way()) return {at::add(rotated, error), error};
  at::Tensor back = frame.leave(error);
  return {at::add(x, back), back};
}

void accumulate_moment(at::Tensor& moment, const at::Tensor& gradient, const at::Tensor& error) {
  if (!error.defined()) return;
  const int64_t n = moment.size(0);
  const auto dtype = moment.scalar_type();
  moment.addmm_(gradient.reshape({-1, n}).to(dtype).t(), error.reshape({-1, n}).to(dtype));
}

}  // namespace spq::model
