#include "tests/model/layer_run.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <array>

#include "core/error.h"

namespace spq::test {

at::Tensor random(const std::vector<int64_t>& shape, at::ScalarType dtype, uint64_t seed,
                  c10::Device device) {
  const at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(seed);
  return at::randn(shape, generator, at::kFloat).to(device, dtype);
}

LayerRun run_layer(StepProblem& problem, const model::LayerFrames& frames, at::ScalarType dtype,
                   uint64_t seed) {
  const data::LlamaConfig& c = problem.network.config;
  const c10::Device device = problem.network.rope.cos.device();
  const model::LayerContext context = problem.network.context(2, kLength);
  problem.weights().begin_walk(model::Walk::kForwardBackward);
  const model::LayerWeights& weights = problem.weights().layer(0);
  const at::Tensor h = random({2 * kLength, c.hidden_size}, dtype, seed, device);
  LayerRun run;
  model::LayerCache cache;
  run.out = model::layer_forward(context, weights, frames, h, &cache);
  if (frames.r4.is_one_way()) return run;
  const at::TensorOptions moment = at::TensorOptions(at::kFloat).device(device);
  run.r1 = at::zeros({c.hidden_size, c.hidden_size}, moment);
  run.r2 = at::zeros({c.head_dim, c.head_dim}, moment);
  model::LayerMoments moments{run.r1, run.r2};
  run.grad = model::layer_backward(context, weights, cache,
                                   random({2 * kLength, c.hidden_size}, dtype, seed + 1, device), moments);
  return run;
}

double largest_error(const LayerRun& found, const LayerRun& expected) {
  double largest = 0;
  for (const auto member : {&LayerRun::out, &LayerRun::grad, &LayerRun::r1, &LayerRun::r2}) {
    const at::Tensor& f = found.*member;
    const at::Tensor& e = expected.*member;
    check(f.defined() == e.defined(), "one run has a tensor that the other has not");
    if (f.defined()) largest = std::max(largest, relative_error(f.cpu(), e.cpu()));
  }
  return largest;
}

double median_error(const std::function<double(uint64_t)>& error) {
  std::array<double, 5> errors{};
  for (size_t i = 0; i < errors.size(); ++i) errors[i] = error(2 * i + 1);
  std::sort(errors.begin(), errors.end());
  return errors[2];
}

}  // namespace spq::test
