// From tensors to the row kernels: dtype dispatch, contiguity, threads over rows.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>

#include "core/error.h"
#include "kernels/bfloat16.h"

namespace spq::model {

/// Calls body(first_row, last_row) for parts of 0..rows from LibTorch's threads, as many as
/// at::set_num_threads allows; a part is large enough that starting a thread pays. Throws what body throws.
void for_rows(int64_t rows, int64_t cols, const std::function<void(int64_t, int64_t)>& body);

/// The same for tasks of which each is worth a thread. at::get_thread_num() < at::get_num_threads() in body.
void for_tasks(int64_t tasks, const std::function<void(int64_t, int64_t)>& body);

/// Calls body with a null pointer of the element type of `dtype`: float, double or kernels::bfloat16.
template <class Body>
void dispatch_dtype(at::ScalarType dtype, const Body& body) {
  switch (dtype) {
    case at::kFloat:
      return body(static_cast<float*>(nullptr));
    case at::kDouble:
      return body(static_cast<double*>(nullptr));
    case at::kBFloat16:
      return body(static_cast<kernels::bfloat16*>(nullptr));
    default:
      fail("no row kernel for dtype {}", c10::toString(dtype));
  }
}

/// The data of a contiguous tensor as the kernels see it.
template <class T>
T* row_data(const at::Tensor& t) {
  SPQ_ASSERT(t.is_contiguous());
  return static_cast<T*>(t.data_ptr());
}

/// fp32 for bf16 and fp32 tensors, double for double: the dtype of accumulators.
inline at::ScalarType accumulate_dtype(at::ScalarType dtype) {
  return dtype == at::kDouble ? at::kDouble : at::kFloat;
}

}  // namespace spq::model
