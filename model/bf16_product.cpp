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

struct Factor {
  at::Tensor values;  // contiguous
  int transposed;
};

// c = a b + beta c
void multiply(const Factor& a, const Factor& b, float beta, const at::Tensor& c) {
  const int rows = static_cast<int>(c.size(0));
  const int columns = static_cast<int>(c.size(1));
  const auto depth = static_cast<int>(a.values.size(a.transposed == kPlain ? 1 : 0));
  cblas_gemm_bf16bf16f32(kRowMajor, a.transposed, b.transposed, rows, columns, depth, 1.0f,
                         a.values.const_data_ptr(), static_cast<int>(a.values.size(1)),
                         b.values.const_data_ptr(), static_cast<int>(b.values.size(1)), beta,
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
  if (rows > 0) multiply({a.contiguous(), kTransposed}, {b.contiguous(), kPlain}, 1.0f, m);
  return true;
}

bool multiplies_in_bf16(const at::Tensor& a, const at::Tensor& b) {
  return !a.is_cuda() && are_bf16(a, b) && multiplies_bf16() && fits_int(a.size(0)) && fits_int(a.size(1)) &&
         fits_int(b.size(1)) && a.numel() > 0 && b.numel() > 0;
}

void bf16_product(const at::Tensor& c, const at::Tensor& a, const at::Tensor& b, bool add) {
  const at::Tensor transposed = b.t();
  const bool in_place = !b.is_contiguous() && transposed.is_contiguous();
  multiply({a.contiguous(), kPlain},
           in_place ? Factor{transposed, kTransposed} : Factor{b.contiguous(), kPlain}, add ? 1.0f : 0.0f, c);
}

}  // namespace spq::model
