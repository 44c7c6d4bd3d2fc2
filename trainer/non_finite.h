// Finds where a step went wrong.
#pragma once

#include <string>

#include "dist/communicator.h"
#include "model/network.h"
#include "model/weights.h"
#include "trainer/train_step.h"

namespace spq::trainer {

/// Repeats forward and backward of a step whose loss or gradient is not finite and looks at every tensor in
/// the order of computation: "rank 1, layer 3: values", the first of the first rank that finds one, or "not
/// found again" when none does. `network` holds the frames of the step. Collective, same text on every rank;
/// slow.
std::string find_non_finite(dist::Communicator& comm, const model::Network& network,
                            model::WeightSource& weights, const TrainState& state, const StepInput& input,
                            const StepSettings& settings);

}  // namespace spq::trainer
