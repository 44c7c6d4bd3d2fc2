// The frozen weights as the network sees them, wherever they come from.
#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>

namespace spq::model {

/// The seven projections of one decoder layer, norm weights folded in. The residual dimension d is last
/// everywhere (o_proj and down_proj are transposed), so that rotating the residual side is always "rows times
/// R1".
struct LayerWeights {
  at::Tensor q;       // [heads * head_dim, d]
  at::Tensor k;       // [kv_heads * head_dim, d]
  at::Tensor v;       // [kv_heads * head_dim, d]
  at::Tensor o_t;     // [heads * head_dim, d]
  at::Tensor gate;    // [intermediate, d]
  at::Tensor up;      // [intermediate, d]
  at::Tensor down_t;  // [intermediate, d]

  std::array<at::Tensor*, 7> all() { return {&q, &k, &v, &o_t, &gate, &up, &down_t}; }
};

/// Which units a walk over the network visits: layers 0..L-1, the head, and for training the layers back to
/// 0.
enum class Walk { kForward, kForwardBackward };

/// Hands out weights in the compute dtype, in the order of a walk. With a sharded source every method is a
/// collective: all ranks call the same ones in the same order.
class WeightSource {
 public:
  virtual ~WeightSource() = default;
  virtual void begin_walk(Walk walk) = 0;
  /// Embedding rows of `ids` int64 [tokens], in host memory -> [tokens, d]. Called first in a walk; `ids` may
  /// be empty.
  virtual at::Tensor embed(const at::Tensor& ids) = 0;
  /// Valid until the next call of layer() or head().
  virtual const LayerWeights& layer(int64_t index) = 0;
  /// lm_head with the final norm folded in [vocab, d]. Valid until the next call of layer() or head().
  virtual const at::Tensor& head() = 0;
};

}  // namespace spq::model
