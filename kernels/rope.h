// Rotary position embedding of head rows (Su et al., arXiv 2104.09864), in Hugging Face's pairing of
// dimension j with j + d/2.
#pragma once

#include <cstdint>

namespace spq::kernels {

enum class RopeDirection { kForward, kInverse };  // the inverse is the gradient: the map is orthogonal

/// Rotates x [tokens, heads, head_dim] in place. cos and sin [tokens, head_dim / 2] are of the type it
/// computes in.
///   y_j = x_j cos_j - x_{j+d/2} sin_j,   y_{j+d/2} = x_{j+d/2} cos_j + x_j sin_j
template <class T, class A>
void rope_rows(T* x, const A* cos, const A* sin, int64_t tokens, int64_t heads, int64_t head_dim,
               RopeDirection direction);

}  // namespace spq::kernels
