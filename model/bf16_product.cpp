#include "model/bf16_product.h"

#include <ATen/ops/addmm.h>

#include <limits>

// Part of MKL's C interface, which LibTorch carries on x86-64 but declares nowhere. Null where it does not.
extern "C" [[gnu::weak]] void cblas_gemm_bf16bf16f32(int layout, int transpose_a, int transpose_b, int m,
                                                     int n, int k, float alpha, const void* a, int lda,
                                                     const void* b, int ldb, float beta, float* c, int ldc);

namespace spq::model {
namespace {

constexpr int kRowMajor = 101;
constexpr int kPlain = 111;
constexpr int kTransposed = 112;

bool multiplies_bf16() {
#if defined(__x86_64__) && defined(__GNUC__)
  static const bool native = __builtin_cpu_supports("avx512bf16") != 0;
  return native && cblas_gemm_bf16bf16f32 != nullptr;
#else
  return false;
#endif
}

}  // namespace

bool add_bf16_product(at::Tensor& m, const at::Tensor& a, const at::Tensor& b) {
  const bool dtypes_fit =
      a.scalar_type() == at::kBFloat16 && b.scalar_type() == at::kBFloat16 && m.scalar_type() == at::kFloat;
  const int64_t rows = a.size(0);
  if (m.is_cuda()) {
    if (dtypes_fit && rows > 0) at::addmm_out(m, m, a.t(), b, at::kFloat);
    return dtypes_fit;
  }
  if (!dtypes_fit || !multiplies_bf16() || rows > std::numeric_limits<int>::max()) return false;
  const at::Tensor left = a.contiguous();
  const at::Tensor right = b.contiguous();
  const int n = static_cast<int>(m.size(0));
  if (rows > 0) {
    cblas_gemm_bf16bf16f32(kRowMajor, kTransposed, kPlain, n, n, static_cast<int>(rows), 1.0f,
                           left.data_ptr(), n, right.data_ptr(), n, 1.0f, m.data_ptr<float>(),
                           static_cast<int>(m.stride(0)));
  }
  return true;
}

}  // namespace spq::model
