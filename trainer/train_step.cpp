// One training step, top to bottom. Shapes: T = sequences in the micro-batch * length, d = hidden size.
#include "trainer/train_step.h"

#include <ATen/ops/isfinite.h>
#include <ATen/ops/tensor.h>

#include <cmath>
#include <utility>

#include "core/error.h"
#include "dist/collectives.h"
#include "trainer/non_finite.h"

namespace spq::trainer {
namespace {

// What layer_forward keeps in `cache`, from the layer's input alone and without its last product.
void recompute(const model::LayerContext& context, const model::LayerWeights& layer,
               const model::LayerFrames& frames, model::LayerCache& cache) {
  at::Tensor x = model::qkv_input(context, frames, cache.h, &cache);
  x = model::output_input(context, layer, frames, x, &cache);
  x = model::after_attention(layer, cache.h, x, &cache);
  x = model::gate_up_input(context, frames, x, &cache);
  model::down_input(context, layer, frames, x, &cache);
}

// Losses of one micro-batch; adds its moments. Nothing here waits for a GPU. Layers are visited up and down
// once, each gathered just before its use by the weight source. From the way up to the way down a layer keeps
// all that its gradient needs, or its input only, one [T, d], from which the rest is computed again: the same
// bits.
model::LossResult forward_backward(const model::Network& network, model::WeightSource& weights,
                                   const at::Tensor& ids, double grad_scale, const Moments& moments,
                                   bool keep_activations) {
  const int64_t num_layers = network.config.num_layers;
  const bool empty = ids.size(0) == 0;  // no sequence left for this rank: it only takes part in the gathers
  const model::LayerContext context = network.context(ids.size(0), ids.size(1));
  weights.begin_walk(model::Walk::kForwardBackward);

  std::vector<model::LayerCache> caches;            // of each layer
  at::Tensor h = weights.embed(ids.reshape({-1}));  // [T, d]
  for (int64_t l = 0; l < num_layers; ++l) {
    const model::LayerWeights& layer = weights.layer(l);
    if (empty) continue;
    model::LayerCache& cache = caches.emplace_back();
    cache.h = h;
    h = model::layer_forward(context, layer, network.frames.layer(l), h, keep_activations ? &cache : nullptr);
  }

  model::LossResult loss;
  const at::Tensor& head = weights.head();
  if (!empty) {
    loss = model::next_token_loss(h, ids, head, network.config.rms_norm_eps, network.loss_chunk, grad_scale);
  }
  h.reset();

  at::Tensor grad = std::move(loss.grad);  // [T, d]
  for (int64_t l = num_layers - 1; l >= 0; --l) {
    const model::LayerWeights& layer = weights.layer(l);
    if (empty) continue;
    model::LayerCache cache = std::move(caches.back());
    caches.pop_back();
    if (!keep_activations) recompute(context, layer, network.frames.layer(l), cache);
    model::LayerMoments layer_moments = moments.layer(l);
    grad = model::layer_backward(context, layer, cache, grad, layer_moments);
  }
  return loss;
}

// Sums over ranks: moments in place, and what the ranks have to tell one another. Same bits on every rank. A
// GPU is waited for: for the losses, then for the norm of the moments.
StepResult reduce(dist::Communicator& comm, Moments& moments, const std::vector<model::LossResult>& losses,
                  const StepInput& input) {
  dist::all_reduce_sum(comm, moments.flat());
  double loss_sum = 0;
  for (const model::LossResult& loss : losses) loss_sum += loss.loss_sum();
  at::Tensor sums = at::tensor({loss_sum, input.stop_requested ? 1.0 : 0.0}, at::kDouble);
  dist::all_reduce_sum(comm, sums);
  StepResult result;
  result.loss = sums[0].item<double>() / static_cast<double>(input.global_predictions);
  result.gradient_norm = moments.flat().norm().item<double>();
  result.stop_requested = sums[1].item<double>() > 0;
  return result;
}

// What is wrong with a reduced step, the same on every rank; empty: nothing.
std::string non_finite_part(const StepResult& result, Moments& moments) {
  if (!std::isfinite(result.loss)) return fmt::format("the loss is {}", std::abs(result.loss));  // no -nan
  // A finite norm has finite parts, and looking at them takes longer than all the rest of this function. A
  // norm can overflow without them.
  if (!std::isfinite(result.gradient_norm) && !at::isfinite(moments.flat()).all().item<bool>())
    return "the gradient of a rotation is not finite";
  return "";
}

}  // namespace

StepResult train_step(dist::Communicator& comm, model::Network& network, model::WeightSource& weights,
                      TrainState& state, const StepInput& input, const StepSettings& settings) {
  network.frames =
      model::NetworkFrames(network.config, state.rotations, settings.online, settings.compute_dtype);
  Moments moments(state.rotations, settings.learned);
  const double grad_scale = 1.0 / static_cast<double>(input.global_predictions);
  std::vector<model::LossResult> losses;
  for (const at::Tensor& ids : input.micro_batches) {
    losses.push_back(forward_backward(network, weights, ids, grad_scale, moments, settings.keep_activations));
  }

  StepResult result = reduce(comm, moments, losses, input);
  if (const std::string problem = non_finite_part(result, moments); !problem.empty()) {
    throw AgreedError(fmt::format(
        "step {}: {} (first seen: {}); nothing was updated, the last checkpoint is still good",
        state.step + 1, problem, find_non_finite(comm, network, weights, state, input, settings)));
  }

  std::vector<at::Tensor> x = learned_matrices(state.rotations, settings.learned);
  std::vector<at::Tensor> momentum = learned_matrices(state.momentum, settings.learned);
  result.cayley = cayley_step(comm, x, moments.all(), momentum, input.learning_rate, settings.cayley);
  assign_learned(state.rotations, settings.learned, x);
  ++state.step;
  return result;
}

}  // namespace spq::trainer
