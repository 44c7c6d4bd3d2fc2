// One training step, top to bottom. Shapes: T = sequences in the micro-batch * length, d = hidden size.
#include "trainer/train_step.h"

#include <ATen/ops/isfinite.h>
#include <ATen/ops/tensor.h>

#include <cmath>

#include "core/error.h"
#include "dist/collectives.h"

namespace spq::trainer {
namespace {

// Loss of one micro-batch; adds its moments. Layers are visited up and down once, each gathered just before
// its use by the weight source; on the way down each is recomputed from its saved input (activation memory:
// one [T, d] per layer).
double forward_backward(const model::Network& network, model::WeightSource& weights, const at::Tensor& ids,
                        double grad_scale, const Moments& moments) {
  const int64_t num_layers = network.config.num_layers;
  const bool empty = ids.size(0) == 0;  // no sequence left for this rank: it only takes part in the gathers
  const model::LayerContext context = network.context(ids.size(0), ids.size(1));
  weights.begin_walk(model::Walk::kForwardBackward);

  std::vector<at::Tensor> inputs;  // of each layer [T, d]
  at::Tensor h = weights.embed(ids.reshape({-1}));
  for (int64_t l = 0; l < num_layers; ++l) {
    const model::LayerWeights& layer = weights.layer(l);
    inputs.push_back(h);
    if (!empty) h = model::layer_forward(context, layer, network.frames.layer(l), h, /*cache=*/nullptr);
  }

  model::LossResult loss;
  const at::Tensor& head = weights.head();
  if (!empty) {
    loss = model::next_token_loss(h, ids, head, network.config.rms_norm_eps, network.loss_chunk, grad_scale);
  }
  h.reset();

  at::Tensor grad = loss.grad;  // [T, d]
  for (int64_t l = num_layers - 1; l >= 0; --l) {
    const model::LayerWeights& layer = weights.layer(l);
    if (empty) continue;
    model::LayerCache cache;
    model::layer_forward(context, layer, network.frames.layer(l), inputs.back(), &cache);
    inputs.pop_back();
    model::LayerMoments layer_moments = moments.layer(l);
    grad = model::layer_backward(context, layer, cache, grad, layer_moments);
  }
  return loss.loss_sum;
}

// Sums over ranks: moments in place, and what the ranks have to tell one another. Same bits on every rank.
StepResult reduce(dist::Communicator& comm, Moments& moments, double loss_sum, const StepInput& input) {
  dist::all_reduce_sum(comm, moments.flat());
  at::Tensor sums = at::tensor({loss_sum, input.stop_requested ? 1.0 : 0.0}, at::kDouble);
  dist::all_reduce_sum(comm, sums);
  StepResult result;
  result.loss = sums[0].item<double>() / static_cast<double>(input.global_predictions);
  result.gradient_norm = moments.flat().norm().item<double>();
  result.stop_requested = sums[1].item<double>() > 0;
  return result;
}

void refuse_non_finite(const StepResult& result, Moments& moments, int64_t step) {
  if (!std::isfinite(result.loss)) {
    throw AgreedError(
        fmt::format("step {}: the loss is {}; nothing was updated, the last checkpoint is still good",
                    step + 1, std::abs(result.loss)));  // no sign before nan
  }
  if (!at::isfinite(moments.flat()).all().item<bool>()) {
    throw AgreedError(
        fmt::format("step {}: the gradient of a rotation is not finite; nothing was updated, the last "
                    "checkpoint is still good",
                    step + 1));
  }
}

}  // namespace

StepResult train_step(dist::Communicator& comm, model::Network& network, model::WeightSource& weights,
                      TrainState& state, const StepInput& input, const StepSettings& settings) {
  network.frames =
      model::NetworkFrames(network.config, state.rotations, settings.online, settings.compute_dtype);
  Moments moments(state.rotations, settings.learned);
  const double grad_scale = 1.0 / static_cast<double>(input.global_predictions);
  double loss_sum = 0;
  for (const at::Tensor& ids : input.micro_batches) {
    loss_sum += forward_backward(network, weights, ids, grad_scale, moments);
  }

  StepResult result = reduce(comm, moments, loss_sum, input);
  refuse_non_finite(result, moments, state.step);

  std::vector<at::Tensor> x = learned_matrices(state.rotations, settings.learned);
  std::vector<at::Tensor> momentum = learned_matrices(state.momentum, settings.learned);
  result.cayley = cayley_step(comm, x, moments.all(), momentum, input.learning_rate, settings.cayley);
  assign_learned(state.rotations, settings.learned, x);
  ++state.step;
  return result;
}

}  // namespace spq::trainer
