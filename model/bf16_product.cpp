#include "model/bf16_product.h"

#include <ATen/ops/addmm.h>
#include <ATen/ops/empty.h>

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

// c = a b + beta c, with a transposed on the way where it says so. All contiguous.
void multiply(const at::Tensor& a, int transposed, const at::Tensor& b, float beta, const at::Tensor& c) {
  const int rows = static_cast<int>(c.size(0));
  const int columns = static_cast<int>(c.size(1));
  cblas_gemm_bf16bf16f32(kRowMajor, transposed, kPlain, rows, columns, static_cast<int>(b.size(0)), 1.0f,
                         a.const_data_ptr(), static_cast<int>(a.size(1)), b.const_data_ptr(), columns, beta,
                         c.data_ptr<float>(), columns);
}

bool are_bf16(const at::Tensor& a, const at::Tensor& b) {
  return a.scalar_type() == at::kBFloat16 && b.scalar_type() == at::kBFloat16;
}

bool fits_int(int64_t n) {
  return n <= std::numeric_limits<int>::max();
}

}  // namespace

bool multiplies_bf16() {
#if defined(__x86_64__) && defined(__GNUC__)
  static const bool native = __builtin_cpu_supports("avx512bf16") != 0;
  return native && cblas_gemm_bf16bf16f32 != nullptr;
#else
  return false;
#endif
}

bool add_bf16_product(at::Tensor& m, const at::Tensor& a, const at::Tensor& b) {
  const bool dtypes_fit = are_bf16(a, b) && m.scalar_type() == at::kFloat;
  const int64_t rows = a.size(0);
  if (m.is_cuda()) {
    if (dtypes_fit && rows > 0) at::addmm_out(m, m, a.t(), b, at::kFloat);
    return dtypes_fit;
  }
  if (!dtypes_fit || !multiplies_bf16() || !fits_int(rows)) return false;
  if (rows > 0) multiply(a.contiguous(), kTransposed, b.contiguous(), 1.0f, m);
  return true;
}

at::Tensor bf16_product(const at::Tensor& a, const at::Tensor& b) {
  const bool fits = fits_int(a.size(0)) && fits_int(a.size(1)) && fits_int(b.size(1));
  if (a.is_cuda() || !are_bf16(a, b) || !multiplies_bf16() || !fits || a.numel() == 0) return {};
  at::Tensor product = at::empty({a.size(0), b.size(1)}, a.options().dtype(at::kFloat));
  multiply(a.contiguous(), kPlain, b.contiguous(), 0.0f, product);
  return product;
}

}  // namespace spq::model
