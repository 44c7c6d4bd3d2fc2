#include "examples.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/linalg_qr.h>
#include <ATen/ops/randn.h>

namespace spq::data {

at::Tensor random_orthogonal(int64_t size, uint64_t seed) {
  const at::Generator generator = at::detail::createCPUGenerator(seed);
  const at::Tensor random = at::randn({size, size}, generator, at::TensorOptions(at::kDouble));
  return std::get<0>(at::linalg_qr(random)).to(at::kFloat).contiguous();
}

Rotations random_rotations(int64_t hidden_size, int64_t num_layers, int64_t head_dim, uint64_t seed) {
  Rotations rotations;
  rotations.r1 = random_orthogonal(hidden_size, seed);
  for (int64_t i = 0; i < num_layers; ++i) {
    rotations.r2.push_back(random_orthogonal(head_dim, seed + 1 + static_cast<uint64_t>(i)));
  }
  return rotations;
}

Checkpoint example_checkpoint() {
  Checkpoint checkpoint;
  checkpoint.rotations = random_rotations(8, 2, 4, 1);
  checkpoint.momentum = random_rotations(8, 2, 4, 100);
  checkpoint.step = 40;
  checkpoint.next_sequence = 320;
  checkpoint.seed = -7;
  checkpoint.world_size = 3;
  checkpoint.config_yaml = "train:\n  steps: 100\n  name: \"\xc3\xa9t\xc3\xa9\"\n";
  checkpoint.model_fingerprint = std::string(64, 'a');
  checkpoint.versions = {{"hdf5", "1.10.8"}, {"spq", "0.1.0"}, {"torch", ""}};
  return checkpoint;
}

bool same_bits(const Rotations& a, const Rotations& b) {
  bool equal = at::equal(a.r1, b.r1) && a.r2.size() == b.r2.size();
  for (size_t i = 0; equal && i < a.r2.size(); ++i) equal = at::equal(a.r2[i], b.r2[i]);
  return equal;
}

bool same(const Checkpoint& a, const Checkpoint& b) {
  return same_bits(a.rotations, b.rotations) && a.momentum.has_value() == b.momentum.has_value() &&
         (!a.momentum || same_bits(*a.momentum, *b.momentum)) && a.step == b.step &&
         a.next_sequence == b.next_sequence && a.seed == b.seed && a.world_size == b.world_size &&
         a.config_yaml == b.config_yaml && a.model_fingerprint == b.model_fingerprint &&
         a.versions == b.versions;
}

}  // namespace spq::data
