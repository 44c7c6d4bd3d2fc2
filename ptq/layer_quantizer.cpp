#include "ptq/layer_quantizer.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>

#include <algorithm>
#include <optional>

#include "core/error.h"
#include "dist/collectives.h"
#include "ptq/layer_stream.h"

namespace spq::ptq {
namespace {

struct Member {
  const char* name;
  at::Tensor LayerMatrices::*matrix;
  WeightQuantSpec ProjectionSpecs::*spec;
};

// Projections that share an input, in the order in which they are quantized.
struct Group {
  Projection projection;
  std::vector<Member> members;
};

const std::vector<Group>& groups() {
  static const std::vector<Group> all = {
      {Projection::kQkv,
       {{"self_attn.q_proj", &LayerMatrices::q, &ProjectionSpecs::q},
        {"self_attn.k_proj", &LayerMatrices::k, &ProjectionSpecs::k},
        {"self_attn.v_proj", &LayerMatrices::v, &ProjectionSpecs::v}}},
      {Projection::kOutput, {{"self_attn.o_proj", &LayerMatrices::o, &ProjectionSpecs::o}}},
      {Projection::kGateUp,
       {{"mlp.gate_proj", &LayerMatrices::gate, &ProjectionSpecs::gate},
        {"mlp.up_proj", &LayerMatrices::up, &ProjectionSpecs::up}}},
      {Projection::kDown, {{"mlp.down_proj", &LayerMatrices::down, &ProjectionSpecs::down}}}};
  return all;
}

at::Tensor gather_rows(dist::Communicator& comm, const at::Tensor& mine, const dist::RowPartition& rows) {
  std::vector<int64_t> shape = mine.sizes().vec();
  shape[0] = rows.num_rows();
  at::Tensor whole = at::empty(shape, mine.options());
  comm.all_gather_rows(mine.contiguous(), whole, rows)->wait();
  return whole;
}

// Rows are independent: each rank quantizes its part.
template <class Quantize>
GptqResult by_rows(dist::Communicator& comm, const at::Tensor& weight, const Quantize& quantize) {
  const dist::RowPartition rows(weight.size(0), comm.world_size());
  GptqResult result;
  dist::collectively(
      comm, [&] { result = quantize(weight.narrow(0, rows.begin(comm.rank()), rows.count(comm.rank()))); });
  if (comm.world_size() == 1) return result;
  QuantizedWeight& q = result.quantized;
  q = {gather_rows(comm, q.codes, rows), gather_rows(comm, q.scale, rows), gather_rows(comm, q.zero, rows)};
  result.weight = gather_rows(comm, result.weight, rows);
  return result;
}

GptqResult round_to_nearest(const at::Tensor& weight, const WeightQuantSpec& spec, const std::string& name) {
  GptqResult result;
  result.quantized = quantize_rtn(weight, spec, name);
  result.weight = dequantize(result.quantized, {}, weight.scalar_type());
  return result;
}

// Proxy loss trace((W - Q) H (W - Q)^T) over that of rounding to nearest, of a few rows spread evenly: two
// thin products instead of two as large as the layer's. None for weights that lie on the grid.
std::optional<double> relative_loss(const at::Tensor& weight, const at::Tensor& quantized,
                                    const at::Tensor& hessian, const WeightQuantSpec& spec,
                                    const std::string& name) {
  constexpr int64_t kRows = 64;
  const int64_t step = (weight.size(0) + kRows - 1) / kRows;
  const auto some = [&](const at::Tensor& m) { return m.slice(0, 0, m.size(0), step); };
  const at::Tensor given = some(weight);
  const at::Tensor nearest = round_to_nearest(given, spec, name).weight;
  const auto wide = [&](const at::Tensor& m) { return m.to(hessian.scalar_type()); };
  const at::Tensor errors = at::cat({wide(some(quantized)), wide(nearest)}).sub_(wide(given).repeat({2, 1}));
  const at::Tensor losses =
      at::mm(errors, hessian).mul_(errors).view({2, -1}).sum(1, /*keepdim=*/false, at::kDouble);
  const double reference = losses[1].item<double>();
  if (!(reference > 0)) return std::nullopt;
  return losses[0].item<double>() / reference;
}

// quantize_layer, a stage after the other.
class LayerQuantizer {
 public:
  LayerQuantizer(dist::Communicator& comm, const LayerPlace& place, const LayerMatrices& weights,
                 CalibrationInputs& inputs, const WeightScheme& scheme)
      : comm_(comm),
        place_(place),
        given_(weights),
        scheme_(scheme),
        result_{weights, {}, {}, 0},
        on_(scheme.quantize_activations ? *place.scheme : off_),
        count_(inputs.quantized.size()),
        has_full_(!inputs.full.empty()),
        quantized_(place, result_.weights, on_, inputs.quantized),
        full_(place, given_, off_, inputs.full) {}

  QuantizedLayer run();

 private:
  bool wants_moments(const Group& group) const;
  InputMoments walk(const Group& group);
  void pass(Projection stage, MomentAccumulator* moments);
  void quantize(const Group& group, const InputMoments& moments);
  void finish();
  std::string name_of(const Member& member) const { return place_.name + "." + member.name; }

  dist::Communicator& comm_;
  const LayerPlace& place_;
  const LayerMatrices& given_;
  const WeightScheme& scheme_;
  QuantizedLayer result_;
  const model::QuantScheme off_;
  const model::QuantScheme on_;
  size_t count_;
  bool has_full_;
  LayerStream quantized_;
  LayerStream full_;
};

bool LayerQuantizer::wants_moments(const Group& group) const {
  const bool looks = scheme_.method == Method::kGptq || scheme_.method == Method::kGptaq;
  return looks && std::any_of(group.members.begin(), group.members.end(),
                              [&](const Member& m) { return (scheme_.specs.*m.spec).enabled(); });
}

// Takes all sequences to the inputs of the group and sums their moments where somebody looks at them.
InputMoments LayerQuantizer::walk(const Group& group) {
  if (!wants_moments(group)) {
    pass(group.projection, nullptr);
    return {};
  }
  const Member& first = group.members.front();
  MomentAccumulator moments((given_.*first.matrix).size(1), scheme_.method == Method::kGptaq, at::kFloat,
                            place_.device);
  pass(group.projection, &moments);
  return moments.finish(comm_, name_of(first));
}

void LayerQuantizer::pass(Projection stage, MomentAccumulator* moments) {
  const bool down = stage == Projection::kDown;
  // Without moments the inputs of down_proj are computed when they are needed, in finish().
  if (!down || moments) quantized_.load(stage);
  if (has_full_) full_.load(stage);
  if (has_full_ && down) full_.load_down();
  for (size_t i = 0; i < count_; ++i) {
    at::Tensor x, x_full;
    if (!down || moments) x = quantized_.step(stage, i);
    if (has_full_) x_full = full_.step(stage, i);
    if (moments) moments->add(x, x_full, 1);
    if (has_full_ && down) full_.finish(i, x_full);
  }
}

void LayerQuantizer::quantize(const Group& group, const InputMoments& moments) {
  HessianFactor factor;
  if (moments.hessian.defined()) {
    dist::collectively(
        comm_, [&] { factor = factor_hessian(moments, scheme_.factor, name_of(group.members.front())); });
    result_.damping_raised += factor.damping_raised;
  }
  for (const Member& member : group.members) {
    const WeightQuantSpec& spec = scheme_.specs.*member.spec;
    if (!spec.enabled()) continue;
    const std::string name = name_of(member);
    const at::Tensor& weight = given_.*member.matrix;
    const GptqResult quantized = by_rows(comm_, weight, [&](const at::Tensor& rows) {
      return factor.feedback.defined() ? quantize_gptq(rows, factor, spec, scheme_.gptq, name)
                                       : round_to_nearest(rows, spec, name);
    });
    if (moments.hessian.defined()) {
      const auto loss = relative_loss(weight, quantized.weight, moments.hessian, spec, name);
      if (loss) result_.relative_loss[member.name] = *loss;
    }
    result_.weights.*member.matrix = quantized.weight;
    result_.integers[member.name] = quantized;
  }
}

void LayerQuantizer::finish() {
  quantized_.load(Projection::kDown);
  quantized_.load_down();
  for (size_t i = 0; i < count_; ++i) quantized_.finish(i, quantized_.step(Projection::kDown, i));
}

QuantizedLayer LayerQuantizer::run() {
  for (const Group& group : groups()) {
    const InputMoments moments = walk(group);
    if (scheme_.method != Method::kNone) quantize(group, moments);
  }
  if (!place_.is_last) finish();
  return std::move(result_);
}

}  // namespace

const WeightQuantSpec& ProjectionSpecs::of(std::string_view projection) const {
  for (const Group& group : groups()) {
    for (const Member& member : group.members) {
      if (projection == member.name) return this->*member.spec;
    }
  }
  fail("no projection '{}'", projection);
}

model::LayerWeights LayerMatrices::network(at::ScalarType dtype, c10::Device device) const {
  return {q.to(device, dtype),
          k.to(device, dtype),
          v.to(device, dtype),
          transposed(o.to(device), dtype),
          gate.to(device, dtype),
          up.to(device, dtype),
          transposed(down.to(device), dtype)};
}

QuantizedLayer quantize_layer(dist::Communicator& comm, const LayerPlace& place, const LayerMatrices& weights,
                              CalibrationInputs& inputs, const WeightScheme& scheme) {
  SPQ_ASSERT(inputs.full.empty() || inputs.full.size() == inputs.quantized.size());
  QuantizedLayer result = LayerQuantizer(comm, place, weights, inputs, scheme).run();
  if (place.is_last) inputs = {};
  return result;
}

void advance(CalibrationInputs& inputs, const LayerPlace& place, const LayerMatrices& quantized,
             const LayerMatrices& full, const WeightScheme& scheme) {
  const model::QuantScheme off;
  const auto through = [&](std::vector<at::Tensor>& sequences, const LayerMatrices& matrices,
                           const model::QuantScheme& quantizers) {
    if (sequences.empty()) return;
    const model::LayerWeights weights = matrices.network(place.compute_dtype, place.device);
    for (at::Tensor& h : sequences) {
      const model::LayerContext context{place.config, place.rope, &quantizers, 1, h.size(0)};
      h = model::layer_forward(context, weights, place.frames, h, /*cache=*/nullptr);
    }
  };
  through(inputs.quantized, quantized, scheme.quantize_activations ? *place.scheme : off);
  through(inputs.full, full, off);
}

}  // namespace spq::ptq
