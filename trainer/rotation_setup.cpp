#include "trainer/rotation_setup.h"

#include <ATen/ops/zeros_like.h>

#include "core/error.h"
#include "data/rotation_file.h"
#include "data/sha256.h"
#include "model/rotation_start.h"

namespace spq::trainer {
namespace {

at::Tensor make_rotation(RotationKind kind, int64_t n, int64_t seed, int64_t stream,
                         const at::Tensor& from_file) {
  switch (kind) {
    case RotationKind::kHadamard:
      return model::random_hadamard(n, seed, stream);
    case RotationKind::kRandom:
      return model::random_orthogonal(n, seed, stream);
    case RotationKind::kIdentity:
      return model::identity_rotation(n);
    case RotationKind::kFile:
      return from_file;
    case RotationKind::kLearned:
      break;
  }
  fail("a rotation cannot start as 'learned'");
}

}  // namespace

Learned learned_rotations(const RotationConfig& config) {
  return {config.r1 == RotationKind::kLearned, config.r2 == RotationKind::kLearned};
}

data::Rotations start_rotations(const RotationConfig& config, const data::LlamaConfig& model) {
  const auto kind = [&](RotationKind k) { return k == RotationKind::kLearned ? config.start : k; };
  const RotationKind r1 = kind(config.r1);
  const RotationKind r2 = kind(config.r2);
  data::Rotations file;
  if (r1 == RotationKind::kFile || r2 == RotationKind::kFile) {
    file = data::read_rotations(config.file, model.hidden_size, model.num_layers, model.head_dim);
  }
  data::Rotations result;
  result.r1 = make_rotation(r1, model.hidden_size, config.seed, /*stream=*/0, file.r1);
  for (int64_t l = 0; l < model.num_layers; ++l) {
    const at::Tensor from_file = file.r2.empty() ? at::Tensor() : file.r2[static_cast<size_t>(l)];
    result.r2.push_back(make_rotation(r2, model.head_dim, config.seed, 1 + l, from_file));
  }
  return result;
}

data::Rotations zero_momentum(const data::Rotations& rotations) {
  data::Rotations zeros;
  zeros.r1 = at::zeros_like(rotations.r1);
  for (const at::Tensor& r2 : rotations.r2) zeros.r2.push_back(at::zeros_like(r2));
  return zeros;
}

std::string rotation_hash(const data::Rotations& rotations) {
  data::Sha256 hash;
  const auto add = [&](const at::Tensor& t) { hash.update(t.data_ptr(), t.nbytes()); };
  add(rotations.r1);
  for (const at::Tensor& r2 : rotations.r2) add(r2);
  return hash.finish();
}

}  // namespace spq::trainer
