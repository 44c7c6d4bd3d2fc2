// Hadamard matrices of orders that are not powers of two (N. Sloane's library, as QuaRot and SpinQuant use
// them, so that models folded with one program run with the other's online transform). Generated:
// tools/make_hadamard_factors.py.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace spq::kernels {

/// One matrix: row i is rows[i], four columns per hex digit (most significant bit first), bit 1 for +1, 0 for
/// -1.
struct HadamardFactor {
  int64_t order;
  std::span<const std::string_view> rows;

  int sign(int64_t row, int64_t column) const;  // +1 or -1
};

/// All of them, in the order in which they are tried as divisors.
std::span<const HadamardFactor> hadamard_factors();

}  // namespace spq::kernels
