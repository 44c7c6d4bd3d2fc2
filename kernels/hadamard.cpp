#include "kernels/hadamard.h"

#include <bit>
#include <cmath>
#include <vector>

#include "core/error.h"
#include "kernels/bfloat16.h"
#include "kernels/hadamard_factors.h"

namespace spq::kernels {
namespace {

// The factor for a block of this size, or 0 when there is none.
int64_t factor_of(int64_t block) {
  for (const HadamardFactor& f : hadamard_factors()) {
    if (block % f.order == 0 && std::has_single_bit(static_cast<uint64_t>(block / f.order))) return f.order;
  }
  return std::has_single_bit(static_cast<uint64_t>(block)) ? 1 : 0;
}

const HadamardFactor& find_factor(int64_t order) {
  for (const HadamardFactor& f : hadamard_factors()) {
    if (f.order == order) return f;
  }
  fail("no Hadamard matrix of order {} in the table", order);
}

// Signs of H (forward) or its transpose as numbers, row-major.
template <class A>
std::vector<A> factor_signs(int64_t order, HadamardDirection direction) {
  const HadamardFactor& f = find_factor(order);
  std::vector<A> signs(static_cast<size_t>(order * order));
  for (int64_t i = 0; i < order; ++i) {
    for (int64_t j = 0; j < order; ++j) {
      const int s = direction == HadamardDirection::kForward ? f.sign(i, j) : f.sign(j, i);
      signs[static_cast<size_t>(i * order + j)] = static_cast<A>(s);
    }
  }
  return signs;
}

// Unnormalised Walsh-Hadamard transform of n (a power of two) values, natural order, in place.
template <class A>
void walsh(A* v, int64_t n) {
  for (int64_t h = 1; h < n; h *= 2) {
    for (int64_t i = 0; i < n; i += 2 * h) {
      for (int64_t j = i; j < i + h; ++j) {
        const A a = v[j];
        const A b = v[j + h];
        v[j] = a + b;
        v[j + h] = a - b;
      }
    }
  }
}

// out[i, :] = sum_j signs[i, j] in[j, :] over rows of m values.
template <class A>
void apply_factor(const std::vector<A>& signs, int64_t order, const A* in, A* out, int64_t m) {
  for (int64_t i = 0; i < order; ++i) {
    A* o = out + i * m;
    for (int64_t t = 0; t < m; ++t) o[t] = 0;
    for (int64_t j = 0; j < order; ++j) {
      const A s = signs[static_cast<size_t>(i * order + j)];
      const A* v = in + j * m;
      for (int64_t t = 0; t < m; ++t) o[t] += s * v[t];
    }
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
  const int64_t m = plan.block / plan.factor;
  const A norm = static_cast<A>(1.0 / std::sqrt(static_cast<double>(plan.block)));
  const std::vector<A> signs = plan.factor > 1 ? factor_signs<A>(plan.factor, direction) : std::vector<A>();
  std::vector<A> values(static_cast<size_t>(plan.block));
  std::vector<A> mixed(plan.factor > 1 ? values.size() : 0);
  for (int64_t begin = 0; begin < rows * plan.n; begin += plan.block) {
    for (int64_t i = 0; i < plan.block; ++i) values[static_cast<size_t>(i)] = static_cast<A>(x[begin + i]);
    for (int64_t f = 0; f < plan.factor; ++f) walsh(values.data() + f * m, m);
    if (plan.factor > 1) apply_factor(signs, plan.factor, values.data(), mixed.data(), m);
    const std::vector<A>& result = plan.factor > 1 ? mixed : values;
    for (int64_t i = 0; i < plan.block; ++i)
      y[begin + i] = static_cast<T>(result[static_cast<size_t>(i)] * norm);
  }
}

template void hadamard_rows<float>(const float*, float*, int64_t, const HadamardPlan&, HadamardDirection);
template void hadamard_rows<double>(const double*, double*, int64_t, const HadamardPlan&, HadamardDirection);
template void hadamard_rows<bfloat16>(const bfloat16*, bfloat16*, int64_t, const HadamardPlan&,
                                      HadamardDirection);

}  // namespace spq::kernels
