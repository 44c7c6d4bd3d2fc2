// Learning rate over the steps of a run.
#pragma once

#include <cstdint>

#include "trainer/config.h"

namespace spq::trainer {

/// Rate of step `step` (from 0) of `steps`: cosine: rate (1 + cos(pi step / steps)) / 2; linear: rate (1 -
/// step / steps); constant: rate.
double learning_rate_at(const OptimizerConfig& config, int64_t step);

}  // namespace spq::trainer
