// One training step, from sequences to moved rotations.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "data/rotations.h"
#include "dist/communicator.h"
#include "model/network.h"
#include "model/weights.h"
#include "trainer/cayley.h"
#include "trainer/moments.h"

namespace spq::trainer {

/// What training changes.
struct TrainState {
  data::Rotations rotations;
  data::Rotations momentum;  // skew matrices of the same shapes; zeros at the start
  int64_t step = 0;          // steps done
};

/// What a step is given. The settings are the same on every rank, the micro-batches are the rank's own.
struct StepInput {
  std::vector<at::Tensor> micro_batches;  // int64 [<= micro_batch, length], the same number on every rank
  int64_t global_predictions = 0;         // of all ranks and micro-batches: the loss is their mean
  double learning_rate = 0;
  bool stop_requested = false;  // this rank was asked to stop after the step
};

struct StepResult {
  double loss = 0;              // mean over the global batch, in nats
  double gradient_norm = 0;     // Frobenius norm of all moments M jointly, symmetric parts included
  bool stop_requested = false;  // on any rank
  CayleyReport cayley;
};

/// The parts of a run that stay the same from step to step.
struct StepSettings {
  model::OnlineTransforms online;
  Learned learned;
  CayleyOptions cayley;
  at::ScalarType compute_dtype = at::kFloat;
  bool keep_activations = false;  // from forward to backward; false: recomputed. Same bits, local to a rank
};

/// Forward and backward over the micro-batches with the rotations of `state`, reduction over ranks, Cayley
/// step. `network` is everything but the frames, which are made here. All ranks hold the same bits in `state`
/// before and after. A loss or moment that is not finite on any rank is an AgreedError on every
/// rank that says where it was first seen, before anything is changed.
StepResult train_step(dist::Communicator& comm, model::Network& network, model::WeightSource& weights,
                      TrainState& state, const StepInput& input, const StepSettings& settings);

}  // namespace spq::trainer
