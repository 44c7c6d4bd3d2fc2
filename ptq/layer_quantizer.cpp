#include "ptq/layer_quantizer.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>

#include "core/error.h"
#include "dist/collectives.h"

namespace spq::ptq {
namespace {

using model::Projection;

struct Member {
  const char* name;
  at::Tensor LayerMatrices::*matrix;
};

// Projections that share an input, in the order in which they are quantized.
struct Group {
  Projection projection;
  std::vector<Member> members;
};

const std::vector<Group>& groups() {
  static const std::vector<Group> all = {
      {Projection::kQkv,
       {{"self_attn.q_proj", &LayerMatrices::q},
        {"self_attn.k_proj", &LayerMatrices::k},
        {"self_attn.v_proj", &LayerMatrices::v}}},
      {Projection::kOutput, {{"self_attn.o_proj", &LayerMatrices::o}}},
      {Projection::kGateUp, {{"mlp.gate_proj", &LayerMatrices::gate}, {"mlp.up_proj", &LayerMatrices::up}}},
      {Projection::kDown, {{"mlp.down_proj", &LayerMatrices::down}}}};
  return all;
}

const WeightQuantSpec& spec_of(const WeightScheme& scheme, Projection projection) {
  return projection == Projection::kDown ? scheme.down_spec : scheme.spec;
}

// One sequence through the layer; the input of `wanted` is put into `seen` when that is given.
at::Tensor forward(const LayerPlace& place, const model::LayerWeights& weights,
                   const model::QuantScheme& scheme, const at::Tensor& h, Projection wanted,
                   at::Tensor* seen) {
  const model::InputObserver observer = [&](Projection projection, const at::Tensor& x) {
    if (seen && projection == wanted) *seen = x;
  };
  const model::LayerContext context{place.config, place.rope, &scheme, 1, h.size(0), &observer};
  return model::layer_forward(context, weights, place.frames, h, /*cache=*/nullptr);
}

InputMoments group_moments(dist::Communicator& comm, const LayerPlace& place, const LayerMatrices& full,
                           const LayerMatrices& so_far, const CalibrationInputs& inputs,
                           Projection projection, int64_t columns, const WeightScheme& scheme,
                           const std::string& name) {
  const bool with_cross = scheme.method == Method::kGptaq;
  const model::QuantScheme off;
  const model::QuantScheme& on = scheme.quantize_activations ? *place.scheme : off;
  const model::LayerWeights quantized_weights = so_far.network(place.compute_dtype);
  const model::LayerWeights full_weights =
      with_cross ? full.network(place.compute_dtype) : model::LayerWeights();
  MomentAccumulator moments(columns, with_cross, at::kFloat);
  for (size_t i = 0; i < inputs.quantized.size(); ++i) {
    at::Tensor x, x_full;
    forward(place, quantized_weights, on, inputs.quantized[i], projection, &x);
    if (with_cross) forward(place, full_weights, off, inputs.full[i], projection, &x_full);
    moments.add(x, x_full, 1);
  }
  return moments.finish(comm, name);
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

// trace((W - Q) H (W - Q)^T)
double proxy_loss(const at::Tensor& weight, const at::Tensor& quantized, const at::Tensor& hessian) {
  const at::Tensor d = weight.to(at::kFloat).sub(quantized.to(at::kFloat));
  return d.mm(hessian).mul_(d).sum(at::kDouble).item<double>();
}

}  // namespace

model::LayerWeights LayerMatrices::network(at::ScalarType dtype) const {
  return {q.to(dtype),
          k.to(dtype),
          v.to(dtype),
          o.t().to(dtype).contiguous(),
          gate.to(dtype),
          up.to(dtype),
          down.t().to(dtype).contiguous()};
}

QuantizedLayer quantize_layer(dist::Communicator& comm, const LayerPlace& place, const LayerMatrices& weights,
                              const CalibrationInputs& inputs, const WeightScheme& scheme) {
  QuantizedLayer result;
  result.weights = weights;
  if (scheme.method == Method::kNone) return result;
  for (const Group& group : groups()) {
    const WeightQuantSpec& spec = spec_of(scheme, group.projection);
    if (!spec.enabled()) continue;
    const auto full_name = [&](const Member& member) { return place.name + "." + member.name; };
    InputMoments moments;
    HessianFactor factor;
    if (scheme.method != Method::kRtn) {
      const std::string name = full_name(group.members.front());
      moments = group_moments(comm, place, weights, result.weights, inputs, group.projection,
                              (weights.*group.members.front().matrix).size(1), scheme, name);
      dist::collectively(comm, [&] { factor = factor_hessian(moments, scheme.factor, name); });
      result.damping_raised += factor.damping_raised;
    }
    for (const Member& member : group.members) {
      const at::Tensor& weight = weights.*member.matrix;
      const GptqResult quantized = by_rows(comm, weight, [&](const at::Tensor& rows) {
        return scheme.method == Method::kRtn
                   ? round_to_nearest(rows, spec, full_name(member))
                   : quantize_gptq(rows, factor, spec, scheme.gptq, full_name(member));
      });
      if (scheme.method != Method::kRtn) {
        const at::Tensor nearest = round_to_nearest(weight, spec, full_name(member)).weight;
        const double reference = proxy_loss(weight, nearest, moments.hessian);
        // Weights that lie on the grid have no error to compare.
        if (reference > 0) {
          result.relative_loss[member.name] =
              proxy_loss(weight, quantized.weight, moments.hessian) / reference;
        }
      }
      result.weights.*member.matrix = quantized.weight;
      result.integers[member.name] = quantized;
    }
  }
  return result;
}

void advance(CalibrationInputs& inputs, const LayerPlace& place, const LayerMatrices& quantized,
             const LayerMatrices& full, const WeightScheme& scheme) {
  const model::QuantScheme off;
  const model::QuantScheme& on = scheme.quantize_activations ? *place.scheme : off;
  const model::LayerWeights quantized_weights = quantized.network(place.compute_dtype);
  for (at::Tensor& h : inputs.quantized)
    h = forward(place, quantized_weights, on, h, Projection::kQkv, nullptr);
  if (inputs.full.empty()) return;
  const model::LayerWeights full_weights = full.network(place.compute_dtype);
  for (at::Tensor& h : inputs.full) h = forward(place, full_weights, off, h, Projection::kQkv, nullptr);
}

}  // namespace spq::ptq
