#include "model/quant_point.h"

#include <ATen/ops/add.h>
#include <ATen/ops/empty_like.h>

#include "kernels/rms_norm.h"
#include "model/bf16_product.h"
#include "model/device.h"
#include "model/norm.h"
#include "model/rows.h"

namespace spq::model {
namespace {

// Where a fused point writes. Undefined tensors: not wanted.
template <class T>
T* output_rows(const at::Tensor& t, int64_t first_value) {
  return t.defined() ? row_data<T>(t) + first_value : nullptr;
}

void quantize_blocks(const kernels::BlockTarget& target, const at::Tensor& x, const Frame& frame,
                     const kernels::QuantSpec& spec, const PointResult& out) {
  const int64_t cols = x.size(-1);
  const int64_t rows = x.numel() / cols;
  dispatch_block_dtype(x.scalar_type(), [&]<class T>(T*) {
    const T* in = row_data<T>(x);
    T* x_hat = output_rows<T>(out.x_hat, 0);
    T* error = output_rows<T>(out.error, 0);
    if (frame.plan()) {
      kernels::blocks::hadamard_quant_rows<T>(target, in, x_hat, error, rows, *frame.plan(), spec);
    } else {
      kernels::blocks::fake_quant_rows<T>(target, in, x_hat, error, rows, cols, spec);
    }
  });
}

// Point without a rotation or behind a Hadamard transform: one pass over each row.
void quantize_rows(const at::Tensor& x, const Frame& frame, const kernels::QuantSpec& spec,
                   const PointResult& out) {
  if (const auto target = block_target(x)) return quantize_blocks(*target, x, frame, spec, out);
  const int64_t cols = x.size(-1);
  dispatch_dtype(x.scalar_type(), [&]<class T>(T*) {
    const T* in = row_data<T>(x);
    for_rows(x.numel() / cols, cols, [&](int64_t begin, int64_t end) {
      const int64_t at = begin * cols;
      T* x_hat = output_rows<T>(out.x_hat, at);
      T* error = output_rows<T>(out.error, at);
      if (frame.plan()) {
        kernels::hadamard_quant_rows(in + at, x_hat, error, end - begin, *frame.plan(), spec);
      } else {
        kernels::fake_quant_rows(in + at, x_hat, error, end - begin, cols, spec);
      }
    });
  });
}

bool is_dense(const Frame& frame) {
  return !frame.is_none() && !frame.plan();
}

}  // namespace

PointResult quantize_point(const at::Tensor& x, const Frame& frame, const kernels::QuantSpec& spec) {
  if (!spec.enabled()) return {frame.is_one_way() ? frame.enter(x) : x, {}};
  if (is_dense(frame)) {
    at::Tensor error = frame.enter(x).contiguous();
    quantize_rows(error, Frame(), spec, {{}, error});
    error = frame.leave(error);
    return {at::add(x, error), error};
  }
  const at::Tensor rows = frame.is_one_way() ? frame.enter(x.contiguous()) : x.contiguous();
  const PointResult out{at::empty_like(rows), at::empty_like(rows)};
  quantize_rows(rows, frame.is_one_way() ? Frame() : frame, spec, out);
  return out;
}

at::Tensor quantize_values(at::Tensor x, const Frame& frame, const kernels::QuantSpec& spec) {
  if (!spec.enabled() || is_dense(frame)) return quantize_point(x, frame, spec).x_hat;
  x = frame.is_one_way() ? frame.enter(x.contiguous()) : x.contiguous();
  quantize_rows(x, frame.is_one_way() ? Frame() : frame, spec, {x, {}});
  return x;
}

PointResult quantize_normed(const at::Tensor& x, double eps, const Frame& frame,
                            const kernels::QuantSpec& spec) {
  if (!frame.is_none() || !spec.enabled()) return quantize_point(rms_norm(x, eps), frame, spec);
  const PointResult out{at::empty_like(x), at::empty_like(x)};
  const int64_t cols = x.size(-1);
  if (const auto target = block_target(x)) {
    dispatch_block_dtype(x.scalar_type(), [&]<class T>(T*) {
      kernels::blocks::rms_norm_quant<T>(*target, row_data<T>(x), row_data<T>(out.x_hat),
                                         row_data<T>(out.error), x.numel() / cols, cols, eps, spec);
    });
    return out;
  }
  dispatch_dtype(x.scalar_type(), [&]<class T>(T*) {
    const T* in = row_data<T>(x);
    for_rows(x.numel() / cols, cols, [&](int64_t begin, int64_t end) {
      const int64_t at = begin * cols;
      kernels::rms_norm_quant(in + at, output_rows<T>(out.x_hat, at), output_rows<T>(out.error, at),
                              end - begin, cols, eps, spec);
    });
  });
  return out;
}

void accumulate_moment(at::Tensor& moment, const at::Tensor& gradient, const at::Tensor& error) {
  if (!error.defined()) return;
  const int64_t n = moment.size(0);
  const at::Tensor g = gradient.reshape({-1, n});
  const at::Tensor e = error.reshape({-1, n});
  if (add_bf16_product(moment, g, e)) return;
  const auto dtype = moment.scalar_type();
  moment.addmm_(g.to(dtype).t(), e.to(dtype));
}

}  // namespace spq::model
