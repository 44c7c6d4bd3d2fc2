#include "kernels/hadamard.h"

#include <algorithm>
#include <bit>
#include <type_traits>

#include "core/error.h"
#include "kernels/aligned.h"
#include "kernels/bfloat16.h"
#include "kernels/hadamard_factors.h"
#include "kernels/hadamard_point.h"
#include "kernels/hadamard_transform.h"
#include "kernels/isa.h"
#include "kernels/quant_row.h"

namespace spq::kernels {
namespace {

// The factor for a block of this size, or 0 when there is none.
int64_t factor_of(int64_t block) {
  for (const HadamardFactor& f : hadamard_factors()) {
    if (block % f.order == 0 && std::has_single_bit(static_cast<uint64_t>(block / f.order))) return f.order;
  }
  return std::has_single_bit(static_cast<uint64_t>(block)) ? 1 : 0;
}

template <class T>
void load_values(const T* x, Accumulate<T>* v, int64_t n) {
  run_vectorised([=] {
    SPQ_INDEPENDENT
    for (int64_t i = 0; i < n; ++i) v[i] = static_cast<Accumulate<T>>(x[i]);
  });
}

// v -> norm (Q(norm v) - norm v), group by group: the error, scaled for the way back.
template <class A>
void replace_by_error(A* v, int64_t n, int64_t length, A norm, const QuantSpec& spec) {
  run_vectorised([=, &spec] {
    for (int64_t begin = 0; begin < n; begin += length) {
      const MinMax<A> m = min_max<A, A>(v + begin, length);
      const QuantRange<A> range = range_between(MinMax<A>{m.min * norm, m.max * norm}, spec);
      error_behind_transform(v + begin, length, v + begin, 1, length, norm, range);
    }
  });
}

template <class T>
void store_point(const T* x, const Accumulate<T>* v, T* x_hat, T* error, int64_t n) {
  using A = Accumulate<T>;
  run_vectorised([=] {
    for_outputs(x_hat, error, [&]<bool kWriteHat, bool kWriteError>() {
      SPQ_INDEPENDENT
      for (int64_t i = 0; i < n; ++i) {
        const A e = rounded<T>(v[i]);
        if constexpr (kWriteHat) x_hat[i] = narrow<T>(static_cast<A>(x[i]) + e);
        if constexpr (kWriteError) store_exact(error[i], e);
      }
    });
  });
}

// Calls body(first value, values, rows) for blocks of rows.
template <class A, class Body>
void for_blocks(const HadamardTransform<A>& transform, int64_t rows, int64_t n, const Body& body) {
  const int64_t step = transform.rows_per_block();
  for (int64_t row = 0; row < rows; row += step) {
    const int64_t count = std::min(step, rows - row);
    body(row * n, count * n, count);
  }
}

}  // namespace

HadamardPlan plan_hadamard(int64_t n) {
  check(n >= 1, "a Hadamard transform needs at least one value, got {}", n);
  for (int64_t blocks = 1; blocks <= n; ++blocks) {
    if (n % blocks != 0) continue;
    if (const int64_t factor = factor_of(n / blocks)) return {n, n / blocks, factor};
  }
  SPQ_ASSERT(false);  // blocks == n always has factor 1
}

template <class T>
void hadamard_rows(const T* x, T* y, int64_t rows, const HadamardPlan& plan, HadamardDirection direction) {
  using A = Accumulate<T>;
  HadamardTransform<A> transform(plan);
  Scratch<A> values(static_cast<size_t>(transform.rows_per_block() * plan.n));
  A* v = values.data();
  const A norm = transform.norm();
  for_blocks(transform, rows, plan.n, [&](int64_t begin, int64_t n, int64_t count) {
    load_values(x + begin, v, n);
    transform.apply(v, count, direction);
    run_vectorised([=] {
      SPQ_INDEPENDENT
      for (int64_t i = 0; i < n; ++i) y[begin + i] = narrow<T>(v[i] * norm);
    });
  });
}

template <class T>
void hadamard_quant_rows(const T* x, T* x_hat, T* error, int64_t rows, const HadamardPlan& plan,
                         const QuantSpec& spec) {
  using A = Accumulate<T>;
  if constexpr (std::is_same_v<A, float>) {
    if (is_fast_point(plan, spec)) return hadamard_point_rows(best_isa(), x, x_hat, error, rows, plan, spec);
  }
  HadamardTransform<A> transform(plan);
  Scratch<A> values(static_cast<size_t>(transform.rows_per_block() * plan.n));
  A* v = values.data();
  const int64_t length = group_length(plan.n, spec);
  for_blocks(transform, rows, plan.n, [&](int64_t begin, int64_t n, int64_t count) {
    load_values(x + begin, v, n);
    transform.apply(v, count, HadamardDirection::kForward);
    replace_by_error(v, n, length, transform.norm(), spec);
    transform.apply(v, count, HadamardDirection::kInverse);
    store_point(x + begin, v, at(x_hat, begin), at(error, begin), n);
  });
}

template void hadamard_rows<float>(const float*, float*, int64_t, const HadamardPlan&, HadamardDirection);
template void hadamard_rows<double>(const double*, double*, int64_t, const HadamardPlan&, HadamardDirection);
template void hadamard_rows<bfloat16>(const bfloat16*, bfloat16*, int64_t, const HadamardPlan&,
                                      HadamardDirection);
template void hadamard_quant_rows<float>(const float*, float*, float*, int64_t, const HadamardPlan&,
                                         const QuantSpec&);
template void hadamard_quant_rows<double>(const double*, double*, double*, int64_t, const HadamardPlan&,
                                          const QuantSpec&);
template void hadamard_quant_rows<bfloat16>(const bfloat16*, bfloat16*, bfloat16*, int64_t,
                                            const HadamardPlan&, const QuantSpec&);

}  // namespace spq::kernels
