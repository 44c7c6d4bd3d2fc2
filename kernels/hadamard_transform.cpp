#include "kernels/hadamard_transform.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <type_traits>

#include "core/error.h"
#include "kernels/hadamard_factors.h"
#include "kernels/isa.h"
#include "kernels/walsh.h"

namespace spq::kernels {
namespace {

const HadamardFactor& find_factor(int64_t order) {
  for (const HadamardFactor& f : hadamard_factors()) {
    if (f.order == order) return f;
  }
  fail("no Hadamard matrix of order {} in the table", order);
}

// A tile of some columns of one row. GCC and Clang split it where the machine's vectors are shorter.
template <class A>
struct TileOf {
  typedef A type __attribute__((vector_size(64)));
  static constexpr int64_t kLength = 64 / sizeof(A);
};

// Where the signed sum that row i of H needs of its columns 4g..4g+3 lies in the sums, at [i, g].
template <class A, class Sign>
std::vector<uint16_t> sum_places(int64_t order, const Sign& sign) {
  std::vector<uint16_t> places;
  for (int64_t i = 0; i < order; ++i) {
    for (int64_t g = 0; g < order / 4; ++g) {
      int64_t digit = 0;
      for (int64_t k = 0; k < 4; ++k) digit = 2 * digit + (sign(i, 4 * g + k) > 0 ? 1 : 0);
      places.push_back(static_cast<uint16_t>((16 * g + digit) * TileOf<A>::kLength));
    }
  }
  return places;
}

// sums[digit] = +-in[0] +-in[m] +-in[2m] +-in[3m] at `width` columns, signs as the bits of digit.
template <class A, class Width>
void signed_sums(const A* in, int64_t m, A* sums, Width width) {
  using Tile = typename TileOf<A>::type;
  Tile x[4] = {};
#pragma GCC unroll 4
  for (int k = 0; k < 4; ++k) std::memcpy(&x[k], in + k * m, static_cast<size_t>(width) * sizeof(A));
  const Tile p = x[0] + x[1];
  const Tile q = x[0] - x[1];
  const Tile r = x[2] + x[3];
  const Tile s = x[2] - x[3];
  const Tile left[4] = {-p, -q, q, p};  // by the upper two bits
  const Tile right[4] = {-r, -s, s, r};
#pragma GCC unroll 16
  for (int digit = 0; digit < 16; ++digit) {
    const Tile sum = left[digit / 4] + right[digit % 4];
    std::memcpy(sums + digit * TileOf<A>::kLength, &sum, sizeof(sum));
  }
}

// v[i, :] = sum_j H[i, j] v[j, :] over rows of m values, for `width` columns from v on, a tile at most. Every
// row of H is a choice among the 16 signed sums of each four rows of v: a third of the additions of the plain
// product.
template <class A, class Width>
void mix_columns(A* v, int64_t order, int64_t m, const uint16_t* places, A* sums, Width width) {
  using Tile = typename TileOf<A>::type;
  const int64_t groups = order / 4;
  for (int64_t g = 0; g < groups; ++g) {
    signed_sums(v + 4 * g * m, m, sums + g * 16 * TileOf<A>::kLength, width);
  }
  const auto add = [sums](Tile& total, uint16_t place) {
    Tile sum;
    std::memcpy(&sum, sums + place, sizeof(sum));
    total += sum;
  };
  for (int64_t i = 0; i < order; ++i, places += groups) {
    Tile total[4] = {};  // four chains of additions instead of one long one
    int64_t g = 0;
    for (; g + 4 <= groups; g += 4) {
#pragma GCC unroll 4
      for (int k = 0; k < 4; ++k) add(total[k], places[g + k]);
    }
    for (; g < groups; ++g) add(total[0], places[g]);
    const Tile sum = (total[0] + total[1]) + (total[2] + total[3]);
    std::memcpy(v + i * m, &sum, static_cast<size_t>(width) * sizeof(A));
  }
}

}  // namespace

template <class A>
HadamardTransform<A>::HadamardTransform(const HadamardPlan& plan)
    : plan_(plan), norm_(static_cast<A>(1.0 / std::sqrt(static_cast<double>(plan.block)))) {
  const int64_t order = plan.factor;
  if (order == 1) return;
  const HadamardFactor& f = find_factor(order);
  places_ = sum_places<A>(order, [&](int64_t i, int64_t j) { return f.sign(i, j); });
  transposed_places_ = sum_places<A>(order, [&](int64_t i, int64_t j) { return f.sign(j, i); });
  sums_.resize(static_cast<size_t>(order / 4 * 16 * TileOf<A>::kLength));
}

template <class A>
int64_t HadamardTransform<A>::rows_per_block() const {
  return std::max<int64_t>(1, 4096 / plan_.n);
}

template <class A>
void HadamardTransform<A>::apply(A* v, int64_t rows, HadamardDirection direction) {
  const int64_t order = plan_.factor;
  const int64_t block = plan_.block;
  const int64_t m = block / order;
  const int64_t values = rows * plan_.n;
  const uint16_t* places =
      direction == HadamardDirection::kForward ? places_.data() : transposed_places_.data();
  A* sums = sums_.data();
  constexpr int64_t kTile = TileOf<A>::kLength;
  run_vectorised([=] {
    for (int64_t begin = 0; begin < values; begin += m) walsh(v + begin, m);
    if (order == 1) return;
    for (int64_t begin = 0; begin < values; begin += block) {
      int64_t t = 0;
      for (; t + kTile <= m; t += kTile) {
        mix_columns(v + begin + t, order, m, places, sums, std::integral_constant<int64_t, kTile>());
      }
      if (t < m) mix_columns(v + begin + t, order, m, places, sums, m - t);
    }
  });
}

template class HadamardTransform<float>;
template class HadamardTransform<double>;

}  // namespace spq::kernels
