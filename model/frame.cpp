#include "model/frame.h"

#include <ATen/ops/empty_like.h>
#include <ATen/ops/matmul.h>

#include "core/error.h"
#include "model/device.h"
#include "model/product.h"
#include "model/rows.h"

namespace spq::model {
namespace {

at::Tensor hadamard(const at::Tensor& x, const kernels::HadamardPlan& plan,
                    kernels::HadamardDirection direction) {
  SPQ_ASSERT(x.size(-1) == plan.n);
  at::Tensor y = at::empty_like(x);
  if (const auto target = block_target(x)) {
    dispatch_block_dtype(x.scalar_type(), [&]<class T>(T*) {
      kernels::blocks::hadamard_rows<T>(*target, row_data<T>(x), row_data<T>(y), x.numel() / plan.n, plan,
                                        direction);
    });
    return y;
  }
  dispatch_dtype(x.scalar_type(), [&]<class T>(T*) {
    const T* in = row_data<T>(x);
    T* out = row_data<T>(y);
    for_rows(x.numel() / plan.n, plan.n, [&](int64_t begin, int64_t end) {
      kernels::hadamard_rows(in + begin * plan.n, out + begin * plan.n, end - begin, plan, direction);
    });
  });
  return y;
}

// Rows, or rows of heads.
at::Tensor multiply(const at::Tensor& x, const at::Tensor& rotation) {
  return x.dim() == 2 ? product(x, rotation) : at::matmul(x, rotation);
}

}  // namespace

at::Tensor Frame::enter(const at::Tensor& x) const {
  if (plan_) return hadamard(x, *plan_, kernels::HadamardDirection::kForward);
  return rotation_.defined() ? multiply(x, rotation_) : x;
}

at::Tensor Frame::leave(const at::Tensor& x) const {
  SPQ_ASSERT(!is_one_way_);
  if (plan_) return hadamard(x, *plan_, kernels::HadamardDirection::kInverse);
  return rotation_.defined() ? multiply(x, rotation_.t()) : x;
}

}  // namespace spq::model
