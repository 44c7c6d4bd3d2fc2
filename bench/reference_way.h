// One decoder layer the published way (SpinQuant, arXiv 2405.16406), to compare with: every weight is rotated
// in fp64 in each forward pass, quantizers are straight-through functions, and automatic differentiation goes
// through all of it to R1 and R2. Written from the paper's description.
#pragma once

#include <ATen/core/Tensor.h>

#include "model/layer.h"

namespace spq::bench {

class ReferenceLayer {
 public:
  /// `context` and what it points to must outlive the layer. Takes the weights as Hugging Face lays them out,
  /// with R4 merged into down_proj.
  ReferenceLayer(const model::LayerContext& context, const model::LayerWeights& weights);

  /// The rotated residual stream h R1 [T, d] -> its value after the layer, in the same frame. r1 [d, d], r2
  /// [head_dim, head_dim] in fp32 or double.
  at::Tensor forward(const at::Tensor& h, const at::Tensor& r1, const at::Tensor& r2) const;

 private:
  struct Rotated {  // [outputs, inputs]
    at::Tensor q, k, v, o, gate, up, down;
  };
  Rotated rotate(const at::Tensor& r1, const at::Tensor& r2) const;
  at::Tensor attention(const at::Tensor& x, const Rotated& w) const;

  model::LayerContext context_;
  Rotated weights_;       // before rotation by R1 and R2
  at::Tensor cos_, sin_;  // [length, head_dim]
};

}  // namespace spq::bench
