#include "kernels/hadamard_mix.h"

#include "core/error.h"
#include "kernels/hadamard_factors.h"

namespace spq::kernels {
namespace {

const HadamardFactor& find_factor(int64_t order) {
  for (const HadamardFactor& f : hadamard_factors()) {
    if (f.order == order) return f;
  }
  fail("no Hadamard matrix of order {} in the table", order);
}

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

}  // namespace

template <class A>
FactorMix<A>::FactorMix(int64_t order) : order_(order) {
  if (order == 1) return;
  const HadamardFactor& f = find_factor(order);
  places_ = sum_places<A>(order, [&](int64_t i, int64_t j) { return f.sign(i, j); });
  transposed_places_ = sum_places<A>(order, [&](int64_t i, int64_t j) { return f.sign(j, i); });
  sums_.resize(static_cast<size_t>(order / 4 * 16 * TileOf<A>::kLength));
}

template class FactorMix<float>;
template class FactorMix<double>;

}  // namespace spq::kernels
