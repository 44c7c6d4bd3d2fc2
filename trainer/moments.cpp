#include "trainer/moments.h"

#include <ATen/ops/zeros.h>

namespace spq::trainer {

Moments::Moments(const data::Rotations& rotations, const Learned& learned) : learned_(learned) {
  const std::vector<at::Tensor> shapes = learned_matrices(rotations, learned);
  int64_t total = 0;
  for (const at::Tensor& x : shapes) total += x.numel();
  flat_ = at::zeros({total}, rotations.r1.options());
  int64_t at = 0;
  for (const at::Tensor& x : shapes) {
    views_.push_back(flat_.narrow(0, at, x.numel()).view(x.sizes()));
    at += x.numel();
  }
}

model::LayerMoments Moments::layer(int64_t index) const {
  model::LayerMoments moments;
  if (learned_.r1) moments.r1 = views_.front();
  if (learned_.r2) moments.r2 = views_[static_cast<size_t>(index) + (learned_.r1 ? 1 : 0)];
  return moments;
}

std::vector<at::Tensor> learned_matrices(const data::Rotations& rotations, const Learned& learned) {
  std::vector<at::Tensor> matrices;
  if (learned.r1) matrices.push_back(rotations.r1);
  if (learned.r2) matrices.insert(matrices.end(), rotations.r2.begin(), rotations.r2.end());
  return matrices;
}

void assign_learned(data::Rotations& rotations, const Learned& learned,
                    const std::vector<at::Tensor>& matrices) {
  auto next = matrices.begin();
  if (learned.r1) rotations.r1 = *next++;
  if (learned.r2) {
    for (at::Tensor& r2 : rotations.r2) r2 = *next++;
  }
}

}  // namespace spq::trainer
