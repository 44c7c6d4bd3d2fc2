#include "trainer/rotation_setup.h"

#include <ATen/ops/zeros_like.h>

#include "core/error.h"
#include "data/sha256.h"
#include "model/rotation_start.h"

namespace spq::trainer {
namespace {

// Where a rotation of this kind comes from; learned ones start somewhere too.
model::RotationSource source_of(RotationKind kind, RotationKind start) {
  switch (kind == RotationKind::kLearned ? start : kind) {
    case RotationKind::kHadamard:
      return model::RotationSource::kHadamard;
    case RotationKind::kRandom:
      return model::RotationSource::kRandom;
    case RotationKind::kIdentity:
      return model::RotationSource::kIdentity;
    case RotationKind::kFile:
      return model::RotationSource::kFile;
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
  return model::make_rotations(source_of(config.r1, config.start), source_of(config.r2, config.start),
                               config.seed, config.file, model);
}

data::Rotations on_device(const data::Rotations& rotations, c10::Device device) {
  data::Rotations moved;
  moved.r1 = rotations.r1.to(device);
  for (const at::Tensor& r2 : rotations.r2) moved.r2.push_back(r2.to(device));
  return moved;
}

data::Rotations zero_momentum(const data::Rotations& rotations) {
  data::Rotations zeros;
  zeros.r1 = at::zeros_like(rotations.r1);
  for (const at::Tensor& r2 : rotations.r2) zeros.r2.push_back(at::zeros_like(r2));
  return zeros;
}

std::string rotation_hash(const data::Rotations& rotations) {
  data::Sha256 hash;
  const auto add = [&](const at::Tensor& t) {
    const at::Tensor here = t.cpu();
    hash.update(here.const_data_ptr(), here.nbytes());
  };
  add(rotations.r1);
  for (const at::Tensor& r2 : rotations.r2) add(r2);
  return hash.finish();
}

}  // namespace spq::trainer
