#include "model/bf16_product.h"

#include <ATen/ops/addmm.h>

#include <limits>

#include "core/error.h"

// Part of MKL's C interface, which LibTorch carries on x86-64 but declares nowhere. Null where it does not.
extern "C" [[gnu::weak]] void cblas_gemm_bf16bf16f32(int layout, int transpose_a, int transpose_b, int m,
                                                     int n, int k, float alpha, const void* a, int lda,
                                                     const void* b, int ldb, float beta, float* c, int ldc);

namespace spq::model {
namespace {

constexpr int kRowMajor = 101;
constexpr int kPlain = 111;
constexpr int kTransposed = 112;

// c = a b, or c += a b, a and b contiguous or transposes of contiguous matrices.
void multiply(const at::Tensor& c, const at::Tensor& a, const at::Tensor& b, bool add) {
  const auto rows_of = [](const at::Tensor& x) {
    const bool transposed = !x.is_contiguous();
    SPQ_ASSERT(!transposed || x.t().is_contiguous());
    return Bf16Rows{x.const_data_ptr(), x.size(transposed ? 0 : 1), transposed};
  };
  bf16_product(c.data_ptr<float>(), {c.size(0), c.size(1), a.size(1)}, rows_of(a), rows_of(b), add);
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
  if (rows > 0) multiply(m, a.contiguous().t(), b.contiguous(), /*add=*/true);
  return true;
}

bool multiplies_in_bf16(const at::Tensor& a, const at::Tensor& b) {
  return !a.is_cuda() && are_bf16(a, b) && multiplies_bf16() && fits_int(a.size(0)) && fits_int(a.size(1)) &&
         fits_int(b.size(1)) && a.numel() > 0 && b.numel() > 0;
}

void bf16_product(float* c, const ProductSize& size, const Bf16Rows& a, const Bf16Rows& b, bool add) {
  const auto of = [](int64_t n) { return static_cast<int>(n); };
  cblas_gemm_bf16bf16f32(kRowMajor, a.transposed ? kTransposed : kPlain, b.transposed ? kTransposed : kPlain,
                         of(size.rows), of(size.columns), of(size.depth), 1.0f, a.values, of(a.stride),
                         b.values, of(b.stride), add ? 1.0f : 0.0f, c, of(size.columns));
}

void bf16_product(const at::Tensor& c, const at::Tensor& a, const at::Tensor& b, bool add) {
  const bool in_place = b.t().is_contiguous();
  multiply(c, a.contiguous(), in_place ? b : b.contiguous(), add);
}

}  // namespace spq::model
