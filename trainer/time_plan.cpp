#include "trainer/time_plan.h"

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "trainer/cayley.h"
#include "trainer/model_sizes.h"

namespace spq::trainer {
namespace {

// Backward attention: scores again, then gradients of v, scores, q and k: five products for forward's two.
constexpr double kAttentionBackward = 2.5;

// What a rank does for one token in one unit.
struct Work {
  double products = 0;   // FLOP
  double attention = 0;  // FLOP
  double elements = 0;   // numbers read or written outside of products

  Work& operator+=(const Work& other) {
    products += other.products;
    attention += other.attention;
    elements += other.elements;
    return *this;
  }
};

// Sizes as real numbers, and the work in them: model/layer.cpp, model/loss.cpp. Passes over d, query and
// key/value columns and the intermediate size are counted where those files make them; R2's products are
// narrow, so that their passes count too.
class Counts {
 public:
  Counts(const data::LlamaConfig& model, const Config& config)
      : sizes_(model), length_(static_cast<double>(config.batch.sequence_length)) {}

  Work forward() const {
    const double points = 2 * 4 * d() * d() + 4 * n() * (q() + kv());  // R1 and R2, entered and left
    return {2 * layer() + points, 2 * length_ * q(), 14 * d() + 13 * q() + 15 * kv() + 5 * m() + repeats()};
  }
  // Without the product with down_proj.
  Work recomputed() const {
    Work work = forward();
    work.products -= 2 * d() * m();
    work.elements -= d();
    return work;
  }
  // Gradients of the inputs, and the moments of R1 and R2.
  Work backward() const {
    const double moments = 2 * 2 * d() * d() + 2 * n() * (q() + kv());
    return {2 * layer() + moments, kAttentionBackward * forward().attention,
            10 * d() + 6 * q() + 6 * kv() + 5 * m() + 2 * repeats()};
  }
  // Logits and their gradient: two products, three passes over the logits, norms.
  Work head() const { return {4 * vocabulary() * d(), 0, 4 * vocabulary() + 10 * d()}; }

  double d() const { return static_cast<double>(sizes_.width()); }

 private:
  double q() const { return static_cast<double>(sizes_.query()); }
  double kv() const { return static_cast<double>(sizes_.key_value()); }
  double m() const { return static_cast<double>(sizes_.intermediate()); }
  double n() const { return static_cast<double>(sizes_.head_dim()); }
  double vocabulary() const { return static_cast<double>(sizes_.vocabulary()); }
  double layer() const { return static_cast<double>(sizes_.layer_elements()); }
  // Keys and values copied for each of their query heads.
  double repeats() const { return sizes_.repeats_keys() ? 2 * q() : 0; }

  ModelSizes sizes_;
  double length_;
};

// Seconds in which a rank receives its part of a unit of `bytes`, and how much that is.
struct Gather {
  double seconds = 0;
  double received = 0;
};

Gather gather(double bytes, const Placement& p, const Device& device) {
  if (p.world_size == 1) return {};
  const double local = p.local_world_size;
  const double nodes = std::max(1.0, p.world_size / local);
  // Each byte enters a host once, over the cards of all its ranks; then the ranks of the host pass it on,
  // unless they share memory.
  const double outside = bytes * (nodes - 1) / nodes / local;
  const double inside = p.shares_gathered ? 0 : bytes * (local - 1) / local;
  const double network = outside > 0 ? outside / device.network_rate : 0;
  const double link = inside > 0 ? inside / device.link_rate : 0;
  return {std::max(network, link), p.shares_gathered ? outside : bytes * (p.world_size - 1) / p.world_size};
}

struct Rates {
  double products, attention, elements;  // per second: FLOP, FLOP, numbers
};

double seconds(const Work& work, const Rates& rates) {
  return work.products / rates.products + work.attention / rates.attention + work.elements / rates.elements;
}

// The walk up and down; a gather is hidden behind the unit before it. The last layer is still there after
// the head, and layer 0 at the start of the next walk.
void add_walk(TimePlan& plan, double tokens, const Counts& counts, const ModelSizes& sizes,
              const ElementSizes& bytes, const Placement& placement, const Device& device, const Rates& rates,
              bool keep) {
  const auto storage = static_cast<double>(bytes.storage);
  const Gather layer = gather(static_cast<double>(sizes.layer_elements()) * storage, placement, device);
  const Gather head = gather(static_cast<double>(sizes.head_elements()) * storage, placement, device);
  Work down = counts.backward();
  if (!keep) down += counts.recomputed();
  struct Unit {
    double compute, next_gather;
  };
  std::vector<Unit> walk;
  const auto layers = static_cast<size_t>(sizes.layers());
  for (size_t l = 0; l < layers; ++l) {
    const Gather& next = l + 1 < layers ? layer : head;
    walk.push_back({tokens * seconds(counts.forward(), rates), next.seconds});
    plan.gathered_bytes += next.received;
  }
  walk.push_back({tokens * seconds(counts.head(), rates), 0});
  for (size_t l = 0; l < layers; ++l) {
    const bool more = l + 1 < layers;
    walk.push_back({tokens * seconds(down, rates), more ? layer.seconds : 0});
    if (more) plan.gathered_bytes += layer.received;
  }
  for (const Unit& unit : walk) {
    plan.gathers += unit.next_gather;
    plan.exposed_gathers += std::max(0.0, unit.next_gather - unit.compute);
  }
}

// Reduction of the moments over the ranks, then the Cayley step on this rank's columns.
void add_update(TimePlan& plan, const Config& config, const ModelSizes& sizes, const Placement& p,
                const Device& device) {
  const bool r1 = config.rotation.r1 == RotationKind::kLearned;
  const bool r2 = config.rotation.r2 == RotationKind::kLearned;
  const auto d = static_cast<double>(sizes.width());
  const auto n = static_cast<double>(sizes.head_dim());
  const double others = r2 ? static_cast<double>(sizes.layers()) : 0;
  const double elements = (r1 ? d * d : 0) + others * n * n;
  const double ranks = p.world_size;
  const UpdateCost update = update_cost(config.optimizer.iterations);
  plan.update_flops = update.products * 2 * ((r1 ? d * d * d : 0) + others * n * n * n) / ranks;
  // Passes over whole matrices: moments, directions and their norms, transposes, powers of A, the result;
  // over own columns: the sum of powers.
  const double passes = 24 + 6 / ranks;
  plan.update = plan.update_flops / device.fp32_rate + passes * elements * 4 / device.fp32_passes;
  if (p.world_size == 1) return;
  // A sum over the ranks moves all elements twice, a gather once.
  plan.reduced_bytes = (2 + update.gathers) * elements * 4 * (ranks - 1) / ranks;
  const bool one_host = p.world_size == p.local_world_size;
  plan.reduction = plan.reduced_bytes / (one_host ? device.link_rate : device.network_rate) +
                   3 * elements * 4 / device.fp32_passes;
}

int64_t divided_up(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

}  // namespace

const char* TimePlan::bound() const {
  const std::array<std::pair<double, const char*>, 6> parts = {
      {{products, "matrix products"},
       {attention, "attention"},
       {elements, "memory bandwidth"},
       {exposed_gathers, "gathering weights"},
       {reduction, "reducing the gradients of the rotations"},
       {update, "the update of the rotations"}}};
  return std::max_element(parts.begin(), parts.end())->second;
}

TimePlan plan_time(const data::LlamaConfig& model, const Config& config, const ElementSizes& bytes,
                   const Placement& placement, const Device& device, bool keep_activations) {
  const ModelSizes sizes(model);
  const Counts counts(model, config);
  const bool bf16 = bytes.compute == 2;
  const Rates rates = {bf16 ? device.bf16_rate : device.fp32_rate,
                       bf16 ? device.bf16_attention : device.fp32_attention,
                       (bf16 ? device.bf16_passes : device.fp32_passes) / static_cast<double>(bytes.compute)};
  const int64_t sequences = divided_up(config.batch.sequences, placement.world_size);
  TimePlan plan;
  plan.tokens = sequences * config.batch.sequence_length;
  plan.walks = divided_up(sequences, config.batch.micro_batch);
  const auto tokens = static_cast<double>(plan.tokens);
  const auto layers = static_cast<double>(sizes.layers());
  const Work once[] = {counts.forward(), counts.backward()};
  for (const Work& work : once) plan.product_flops += tokens * layers * work.products;
  plan.product_flops += tokens * counts.head().products;

  Work all = counts.head();
  Work layer = counts.forward();
  layer += counts.backward();
  if (!keep_activations) {
    layer += counts.recomputed();
    plan.recompute_flops = tokens * layers * counts.recomputed().products;
  }
  all += {layers * layer.products, layers * layer.attention, layers * layer.elements};
  plan.attention_flops = tokens * all.attention;
  plan.element_bytes = tokens * all.elements * static_cast<double>(bytes.compute);
  plan.products = tokens * all.products / rates.products;
  plan.attention = plan.attention_flops / rates.attention;
  plan.elements = tokens * all.elements / rates.elements;
  for (int64_t walk = 0; walk < plan.walks; ++walk) {
    add_walk(plan, tokens / static_cast<double>(plan.walks), counts, sizes, bytes, placement, device, rates,
             keep_activations);
  }
  add_update(plan, config, sizes, placement, device);
  return plan;
}

}  // namespace spq::trainer
