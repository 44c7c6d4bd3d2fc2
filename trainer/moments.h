// Where a step collects the moments M of the rotations that learn: one flat buffer, reduced over ranks at
// once.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "data/rotations.h"
#include "model/layer.h"

namespace spq::trainer {

/// Which rotations learn.
struct Learned {
  bool r1 = true;
  bool r2 = true;
};

class Moments {
 public:
  /// Zeros, in fp32 (or the dtype of the rotations), shaped like the learned ones of `rotations`.
  Moments(const data::Rotations& rotations, const Learned& learned);
  /// Views for one layer; undefined where a rotation does not learn.
  model::LayerMoments layer(int64_t index) const;
  /// R1 (if learned), then R2 of each layer (if learned): views [n, n].
  const std::vector<at::Tensor>& all() const { return views_; }
  at::Tensor& flat() { return flat_; }

 private:
  Learned learned_;
  at::Tensor flat_;
  std::vector<at::Tensor> views_;
};

/// The learned rotations in the order of Moments::all, and back.
std::vector<at::Tensor> learned_matrices(const data::Rotations& rotations, const Learned& learned);
void assign_learned(data::Rotations& rotations, const Learned& learned,
                    const std::vector<at::Tensor>& matrices);

}  // namespace spq::trainer
