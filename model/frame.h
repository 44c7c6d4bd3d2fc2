// The rotation that a quantization point looks through.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

#include "kernels/hadamard.h"

namespace spq::model {

/// An orthogonal map of the last dimension: none, a dense matrix (x R) or a Hadamard transform (row-wise H
/// x). The decoder layer does not know which one it was given (design.md 3, "two frames, one layer
/// function").
class Frame {
 public:
  /// No rotation: the data is already in the frame where it is quantized.
  Frame() = default;
  /// `rotation` [n, n], in the dtype of the data it will see.
  explicit Frame(at::Tensor rotation) : rotation_(std::move(rotation)) {}
  explicit Frame(kernels::HadamardPlan plan) : plan_(plan) {}
  /// A Hadamard transform that is entered and never left: the weights behind the point are folded with it.
  /// For forward passes only, since a gradient would have to leave.
  static Frame one_way(kernels::HadamardPlan plan) {
    Frame frame(plan);
    frame.is_one_way_ = true;
    return frame;
  }

  bool is_none() const { return !rotation_.defined() && !plan_; }
  bool is_one_way() const { return is_one_way_; }
  /// The Hadamard transform, where the map is one.
  const std::optional<kernels::HadamardPlan>& plan() const { return plan_; }
  /// x [..., n] -> the rotated x; x itself when there is no rotation.
  at::Tensor enter(const at::Tensor& x) const;
  /// The inverse of enter. Not for a one-way frame.
  at::Tensor leave(const at::Tensor& x) const;

 private:
  at::Tensor rotation_;
  std::optional<kernels::HadamardPlan> plan_;
  bool is_one_way_ = false;
};

}  // namespace spq::model
