// The row kernels of this folder as blocks of threads run them: on a GPU, or the identical source thread by
// thread on the host, so that indices, shared-memory layout and tails are tested without a GPU.
#pragma once

#include <cstdint>

#include "kernels/fake_quant.h"
#include "kernels/hadamard.h"
#include "kernels/rope.h"

namespace spq::kernels {

/// Where a block kernel runs.
class BlockTarget {
 public:
  /// On the calling thread, thread by thread of each block, between barriers. Slow: for tests.
  static BlockTarget host() { return {false, false, nullptr}; }
  /// The same with the threads and blocks in reverse order: equal results show that no barrier is missing.
  static BlockTarget host_reversed() { return {false, true, nullptr}; }
  /// On the current CUDA device, queued on `stream` (a cudaStream_t). Pointers are device memory.
  static BlockTarget cuda(void* stream) { return {true, false, stream}; }

  bool is_cuda() const { return cuda_; }
  bool is_reversed() const { return reversed_; }
  void* stream() const { return stream_; }

 private:
  BlockTarget(bool cuda, bool reversed, void* stream) : cuda_(cuda), reversed_(reversed), stream_(stream) {}
  bool cuda_;
  bool reversed_;
  void* stream_;
};

/// True in a build with CUDA kernels; elsewhere a cuda target is an Error.
bool built_with_cuda();

/// The functions below are those of the same name in this folder's other headers (which say what they
/// promise), for T float and bfloat16, computed in fp32. Every launch is checked: Error naming the kernel and
/// the CUDA message. Rows are independent, sums within a row are taken in a fixed order: same bits run to
/// run, on every device and on the host but for contraction in rope_rows, swiglu and cross_entropy_rows.
namespace blocks {

/// kernels/fake_quant.h
template <class T>
void fake_quant_rows(const BlockTarget& target, const T* x, T* x_hat, T* error, int64_t rows, int64_t cols,
                     const QuantSpec& spec);

/// kernels/hadamard.h. Error where a block of the plan does not fit the device's shared memory.
template <class T>
void hadamard_rows(const BlockTarget& target, const T* x, T* y, int64_t rows, const HadamardPlan& plan,
                   HadamardDirection direction);
template <class T>
void hadamard_quant_rows(const BlockTarget& target, const T* x, T* x_hat, T* error, int64_t rows,
                         const HadamardPlan& plan, const QuantSpec& spec);

/// kernels/rms_norm.h
template <class T>
void rms_norm(const BlockTarget& target, const T* x, T* y, int64_t rows, int64_t cols, double eps);
template <class T>
void rms_norm_quant(const BlockTarget& target, const T* x, T* x_hat, T* error, int64_t rows, int64_t cols,
                    double eps, const QuantSpec& spec);
template <class T>
void rms_norm_backward_add(const BlockTarget& target, const T* x, const T* dy, T* dx, int64_t rows,
                           int64_t cols, double eps);

/// kernels/rope.h, with the tables in fp32
template <class T>
void rope_rows(const BlockTarget& target, T* x, const float* cos, const float* sin, int64_t tokens,
               int64_t heads, int64_t head_dim, RopeDirection direction);

/// kernels/swiglu.h
template <class T>
void swiglu(const BlockTarget& target, const T* gate, const T* up, T* product, int64_t n);
template <class T>
void swiglu_backward(const BlockTarget& target, const T* gate, const T* up, const T* grad_product,
                     T* grad_gate, T* grad_up, int64_t n);

/// kernels/cross_entropy.h
template <class T>
void cross_entropy_rows(const BlockTarget& target, T* logits, const int64_t* targets, double* losses,
                        int64_t rows, int64_t vocab, double grad_scale);

}  // namespace blocks
}  // namespace spq::kernels
