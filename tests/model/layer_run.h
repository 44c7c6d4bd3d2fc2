// One layer forward and backward, to be compared between devices.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <vector>

#include "tests/trainer/step_problem.h"

namespace spq::test {

/// Normal numbers, the same on every device.
at::Tensor random(const std::vector<int64_t>& shape, at::ScalarType dtype, uint64_t seed,
                  c10::Device device = at::kCPU);

struct LayerRun {
  at::Tensor out, grad, r1, r2;
};

/// Layer 0 of `problem`, which has grouped key/value heads, on two sequences of random numbers on the
/// problem's device. Behind a one-way R4 only `out`, since no gradient passes that.
LayerRun run_layer(StepProblem& problem, const model::LayerFrames& frames, at::ScalarType dtype,
                   uint64_t seed = 1);

/// Largest relative error (Frobenius norm) of the tensors of `found`. Both have the same ones.
double largest_error(const LayerRun& found, const LayerRun& expected);

/// The median of error(seed) over seeds 1, 3, ... 9. Devices add in another order; every 30th run or so, that
/// carries a value across a rounding boundary of a quantizer, which changes a token by a few percent and says
/// nothing about the kernels.
double median_error(const std::function<double(uint64_t seed)>& error);

}  // namespace spq::test
