#include "trainer/non_finite.h"

#include <ATen/ops/isfinite.h>
#include <fmt/format.h>

#include <vector>

#include "dist/collectives.h"
#include "model/loss.h"

namespace spq::trainer {
namespace {

// Remembers the first tensor that holds a NaN or an infinity.
class Search {
 public:
  bool found() const { return !place_.empty(); }
  const std::string& place() const { return place_; }
  void look(const at::Tensor& t, const char* name) { note(t.defined() && !all_finite(t), name); }
  void look(double value, const char* name) { note(!(value - value == 0), name); }
  void enter(std::string where) { where_ = std::move(where); }

 private:
  static bool all_finite(const at::Tensor& t) { return at::isfinite(t).all().item<bool>(); }
  void note(bool bad, const char* name) {
    if (bad && !found()) place_ = where_.empty() ? name : fmt::format("{}: {}", where_, name);
  }

  std::string where_;
  std::string place_;
};

void look_at_layer(Search& search, const model::LayerCache& cache, const at::Tensor& out) {
  search.look(cache.q, "queries");
  search.look(cache.k_hat, "keys");
  search.look(cache.v_hat, "values");
  search.look(cache.attention.out, "attention output");
  search.look(cache.output_error, "quantized input of o_proj");
  search.look(cache.residual, "output of o_proj");
  search.look(cache.gate, "output of gate_proj");
  search.look(cache.up, "output of up_proj");
  search.look(out, "output of down_proj");
}

// Once something is found this rank only takes part in the gathers.
void search_micro_batch(Search& search, const model::Network& network, model::WeightSource& weights,
                        const at::Tensor& ids, double grad_scale, const Moments& moments) {
  const int64_t num_layers = network.config.num_layers;
  const auto go_on = [&] { return ids.size(0) > 0 && !search.found(); };
  const model::LayerContext context = network.context(ids.size(0), ids.size(1));
  weights.begin_walk(model::Walk::kForwardBackward);
  std::vector<at::Tensor> inputs;
  at::Tensor h = weights.embed(ids.reshape({-1}));
  search.enter("");
  search.look(h, "embedding");
  for (int64_t l = 0; l < num_layers; ++l) {
    const model::LayerWeights& layer = weights.layer(l);
    if (!go_on()) continue;
    inputs.push_back(h);
    model::LayerCache cache;
    h = model::layer_forward(context, layer, network.frames.layer(l), h, &cache);
    search.enter(fmt::format("layer {}", l));
    look_at_layer(search, cache, h);
  }
  model::LossResult loss;
  const at::Tensor& head = weights.head();
  if (go_on()) {
    loss = model::next_token_loss(h, ids, head, network.config.rms_norm_eps, network.loss_chunk, grad_scale);
    search.enter("");
    search.look(loss.loss_sum(), "loss");
    search.look(loss.grad, "gradient of the loss");
  }
  at::Tensor grad = loss.grad;
  for (int64_t l = num_layers - 1; l >= 0; --l) {
    const model::LayerWeights& layer = weights.layer(l);
    if (!go_on()) continue;
    model::LayerCache cache;
    model::layer_forward(context, layer, network.frames.layer(l), inputs[static_cast<size_t>(l)], &cache);
    model::LayerMoments layer_moments = moments.layer(l);
    grad = model::layer_backward(context, layer, cache, grad, layer_moments);
    search.enter(fmt::format("layer {}", l));
    search.look(layer_moments.r2, "gradient of R2");
    search.look(layer_moments.r1, "gradient of R1");
    search.look(grad, "gradient of the layer's input");
  }
}

}  // namespace

std::string find_non_finite(dist::Communicator& comm, const model::Network& network,
                            model::WeightSource& weights, const TrainState& state, const StepInput& input,
                            const StepSettings& settings) {
  Search search;
  const Moments moments(state.rotations, settings.learned);
  const double grad_scale = 1.0 / static_cast<double>(input.global_predictions);
  for (const at::Tensor& ids : input.micro_batches) {
    search_micro_batch(search, network, weights, ids, grad_scale, moments);
  }
  const std::vector<std::string> places = dist::gather_texts(comm, search.place());
  for (size_t r = 0; r < places.size(); ++r) {
    if (!places[r].empty()) return fmt::format("rank {}, {}", r, places[r]);
  }
  return "not found again";
}

}  // namespace spq::trainer
