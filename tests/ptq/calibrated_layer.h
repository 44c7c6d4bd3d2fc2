// A small decoder layer with calibration sequences.
#pragma once

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/randn.h>

#include <cmath>
#include <vector>

#include "model/quant_config.h"
#include "ptq/layer_quantizer.h"

namespace spq::ptq::testing {

constexpr int64_t kLength = 48;

inline at::Tensor normal(int64_t rows, int64_t columns, uint64_t seed) {
  at::Generator generator = at::detail::createCPUGenerator(seed);
  return at::randn({rows, columns}, generator, at::TensorOptions(at::kFloat));
}

/// A layer with grouped key/value heads, R3 and a folded R4 online, and correlated calibration sequences.
struct Layer {
  explicit Layer(at::ScalarType storage = at::kFloat, at::ScalarType compute = at::kFloat,
                 int64_t sequences = 6) {
    config.hidden_size = 64;
    config.intermediate_size = 96;
    config.num_heads = 4;
    config.num_kv_heads = 2;
    config.head_dim = 16;
    config.rms_norm_eps = 1e-5;
    rope = model::make_rope_table(config, kLength);
    model::QuantConfig q;
    q.activation.bits = q.key.bits = q.value.bits = 4;
    quantizers = model::quant_scheme(q);
    frames.r3 = model::Frame(kernels::plan_hadamard(16));
    frames.r4 = model::Frame::one_way(kernels::plan_hadamard(96));
    uint64_t seed = 100;
    const auto matrix = [&](int64_t out, int64_t in) {
      return normal(out, in, seed++).mul_(1.5 / std::sqrt(static_cast<double>(in))).to(storage);
    };
    weights = {matrix(64, 64), matrix(32, 64), matrix(32, 64), matrix(64, 64),
               matrix(96, 64), matrix(96, 64), matrix(64, 96)};
    const at::Tensor mix = normal(64, 64, 7).mul_(0.1);
    for (int64_t i = 0; i < sequences; ++i) {
      const at::Tensor h = normal(kLength, 64, 200 + static_cast<uint64_t>(i));
      inputs.push_back(h.add(at::mm(h, mix), 2).to(compute));
    }
    place = {&config, &rope, &quantizers, frames, compute, "model.layers.3"};
  }

  /// Sequences of one of `world` ranks.
  CalibrationInputs part(Method method, int rank = 0, int world = 1) const {
    const dist::RowPartition rows(static_cast<int64_t>(inputs.size()), world);
    CalibrationInputs result;
    for (int64_t i = rows.begin(rank); i < rows.end(rank); ++i) {
      const at::Tensor& h = inputs[static_cast<size_t>(i)];
      result.quantized.push_back(h);
      // As if layers before this one had been quantized.
      if (method == Method::kGptaq) result.full.push_back(h.mul(1.02));
    }
    return result;
  }

  data::LlamaConfig config;
  model::RopeTable rope;
  model::QuantScheme quantizers;
  model::LayerFrames frames;
  LayerMatrices weights;
  std::vector<at::Tensor> inputs;
  LayerPlace place;
};

/// The same spec for every projection.
inline WeightScheme scheme_of(Method method, int bits = 4, at::ScalarType storage = at::kFloat) {
  WeightScheme scheme;
  scheme.method = method;
  const WeightQuantSpec spec{bits, true, -1, false, storage};
  scheme.specs = {spec, spec, spec, spec, spec, spec, spec};
  scheme.factor.alpha = method == Method::kGptaq ? 0.25 : 0;
  return scheme;
}

}  // namespace spq::ptq::testing
