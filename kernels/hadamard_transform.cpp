#include "kernels/hadamard_transform.h"

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "kernels/isa.h"
#include "kernels/walsh.h"

namespace spq::kernels {

template <class A>
HadamardTransform<A>::HadamardTransform(const HadamardPlan& plan)
    : plan_(plan),
      norm_(static_cast<A>(1.0 / std::sqrt(static_cast<double>(plan.block)))),
      mix_(plan.factor) {}

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
  constexpr int64_t kTile = TileOf<A>::kLength;
  run_vectorised([=, this] {
    for (int64_t begin = 0; begin < values; begin += m) walsh(v + begin, m);
    if (order == 1) return;
    for (int64_t begin = 0; begin < values; begin += block) {
      int64_t t = 0;
      for (; t + kTile <= m; t += kTile) {
        A* columns = v + begin + t;
        mix_.mix(columns, m, columns, m, direction, std::integral_constant<int64_t, kTile>());
      }
      if (t < m) mix_.mix(v + begin + t, m, v + begin + t, m, direction, m - t);
    }
  });
}

template class HadamardTransform<float>;
template class HadamardTransform<double>;

}  // namespace spq::kernels
