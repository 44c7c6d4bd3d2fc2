// One decoder layer through the quantizers, group by group.
#include "ptq/layer_quantizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "core/error.h"
#include "dist/single_communicator.h"
#include "dist/thread_communicator.h"
#include "tests/ptq/calibrated_layer.h"
#include "tests/ptq/problem.h"

namespace spq::ptq {
namespace {

using testing::kLength;
using testing::Layer;
using testing::scheme_of;

std::vector<std::pair<std::string, at::Tensor>> named(const LayerMatrices& w) {
  return {{"self_attn.q_proj", w.q}, {"self_attn.k_proj", w.k}, {"self_attn.v_proj", w.v},
          {"self_attn.o_proj", w.o}, {"mlp.gate_proj", w.gate}, {"mlp.up_proj", w.up},
          {"mlp.down_proj", w.down}};
}

bool same(const std::vector<at::Tensor>& a, const std::vector<at::Tensor>& b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (!a[i].equal(b[i])) return false;
  }
  return true;
}

const std::vector<Method> kMethods = {Method::kNone, Method::kRtn, Method::kGptq, Method::kGptaq};

TEST(LayerStages, MakeUpTheLayersForwardBitForBit) {
  for (at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    const Layer layer(at::kFloat, dtype, 1);
    const model::LayerWeights w = layer.weights.network(dtype);
    const model::LayerContext c{&layer.config, &layer.rope, &layer.quantizers, 1, kLength};
    model::LayerCache cache;
    const at::Tensor& h = layer.inputs[0];
    const at::Tensor whole = model::layer_forward(c, w, layer.frames, h, nullptr);
    EXPECT_TRUE(whole.equal(model::layer_forward(c, w, layer.frames, h, &cache)));
    at::Tensor x = model::qkv_input(c, layer.frames, h);
    x = model::output_input(c, w, layer.frames, x);
    const at::Tensor residual = model::after_attention(w, h, x);
    EXPECT_TRUE(residual.equal(cache.residual));
    x = model::gate_up_input(c, layer.frames, residual);
    x = model::down_input(c, w, layer.frames, x);
    EXPECT_TRUE(whole.equal(model::after_mlp(w, residual, x)));
  }
}

TEST(QuantizeLayer, LeavesTheOutputsThatAdvanceGives) {
  dist::SingleCommunicator comm;
  for (at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    const Layer layer(dtype, dtype, 3);
    for (Method method : kMethods) {
      for (bool quantize_activations : {false, true}) {
        WeightScheme scheme = scheme_of(method, 4, dtype);
        scheme.quantize_activations = quantize_activations;
        scheme.specs.up.bits = 16;
        if (quantize_activations) scheme.specs.down.bits = 16;  // its inputs then have no moments to sum
        CalibrationInputs moved = layer.part(method);
        const QuantizedLayer result = quantize_layer(comm, layer.place, layer.weights, moved, scheme);
        CalibrationInputs resumed = layer.part(method);
        advance(resumed, layer.place, result.weights, layer.weights, scheme);
        EXPECT_TRUE(same(moved.quantized, resumed.quantized)) << static_cast<int>(method);
        EXPECT_TRUE(same(moved.full, resumed.full)) << static_cast<int>(method);
        ASSERT_EQ(moved.quantized.size(), 3U);
        EXPECT_FALSE(moved.quantized[0].equal(layer.inputs[0]));
        EXPECT_EQ(moved.quantized[0].scalar_type(), dtype);
        EXPECT_TRUE(result.weights.up.equal(layer.weights.up));
      }
    }
  }
}

TEST(QuantizeLayer, BehindTheLastLayerGivesTheSameWeightsAndNoInputs) {
  dist::SingleCommunicator comm;
  Layer layer;
  for (Method method : {Method::kGptq, Method::kGptaq}) {
    CalibrationInputs inputs = layer.part(method), last = layer.part(method);
    layer.place.is_last = false;
    const QuantizedLayer a = quantize_layer(comm, layer.place, layer.weights, inputs, scheme_of(method));
    layer.place.is_last = true;
    const QuantizedLayer b = quantize_layer(comm, layer.place, layer.weights, last, scheme_of(method));
    EXPECT_TRUE(a.weights.down.equal(b.weights.down));
    EXPECT_TRUE(last.quantized.empty() && last.full.empty());
  }
}

// The input of a group is that of the network whose earlier groups are quantized: quantizing the others
// again, with q, k and v as they came out, changes nothing.
TEST(QuantizeLayer, LaterGroupsSeeTheQuantizedEarlierOnes) {
  dist::SingleCommunicator comm;
  const Layer layer;
  CalibrationInputs inputs = layer.part(Method::kGptq), again = layer.part(Method::kGptq);
  WeightScheme scheme = scheme_of(Method::kGptq, 3);
  const QuantizedLayer first = quantize_layer(comm, layer.place, layer.weights, inputs, scheme);
  LayerMatrices some = layer.weights;
  some.q = first.weights.q;
  some.k = first.weights.k;
  some.v = first.weights.v;
  scheme.specs.q.bits = scheme.specs.k.bits = scheme.specs.v.bits = 16;
  const QuantizedLayer second = quantize_layer(comm, layer.place, some, again, scheme);
  EXPECT_TRUE(second.weights.o.equal(first.weights.o));
  EXPECT_TRUE(second.weights.down.equal(first.weights.down));
  CalibrationInputs plain = layer.part(Method::kGptq);
  const QuantizedLayer third = quantize_layer(comm, layer.place, layer.weights, plain, scheme);
  EXPECT_FALSE(third.weights.o.equal(first.weights.o));
}

TEST(QuantizeLayer, EachProjectionHasItsOwnBitsAndSixteenBitsLeaveItAsItIs) {
  dist::SingleCommunicator comm;
  const Layer layer;
  for (Method method : {Method::kRtn, Method::kGptq, Method::kGptaq}) {
    WeightScheme scheme = scheme_of(method);
    ProjectionSpecs& s = scheme.specs;
    s.q.bits = 2;
    s.k.bits = 8;
    s.v.bits = 16;
    s.o.bits = 3;
    s.gate.bits = 16;
    s.down.bits = 5;
    CalibrationInputs inputs = layer.part(method);
    const QuantizedLayer result = quantize_layer(comm, layer.place, layer.weights, inputs, scheme);
    EXPECT_TRUE(result.weights.v.equal(layer.weights.v));
    EXPECT_TRUE(result.weights.gate.equal(layer.weights.gate));
    EXPECT_EQ(result.integers.size(), 5U);
    for (const auto& [name, found] : result.integers) {
      const CodeRange range = code_range(s.of(name));
      EXPECT_GE(found.quantized.codes.min().item<int>(), range.low) << name;
      EXPECT_LE(found.quantized.codes.max().item<int>(), range.high) << name;
      // Wider than half the range: neither fewer bits than asked for.
      EXPECT_GT(found.quantized.codes.max().item<int>(), range.high / 2) << name;
    }
    EXPECT_EQ(result.relative_loss.size(), method == Method::kRtn ? 0U : 5U);
  }
  EXPECT_THROW(ProjectionSpecs().of("self_attn.w_proj"), Error);
}

TEST(QuantizeLayer, IntegersStandForTheWeightsInEveryMethodWithActOrderAndGroups) {
  dist::SingleCommunicator comm;
  for (at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    const Layer layer(dtype, at::kFloat);
    for (Method method : {Method::kRtn, Method::kGptq, Method::kGptaq}) {
      for (bool static_groups : {false, true}) {
        WeightScheme scheme = scheme_of(method, 4, dtype);
        scheme.factor.act_order = true;
        scheme.gptq.static_groups = static_groups;
        for (auto* spec : {&scheme.specs.q, &scheme.specs.o, &scheme.specs.down}) {
          spec->group_size = 32;
          spec->symmetric = false;
        }
        CalibrationInputs inputs = layer.part(method);
        const QuantizedLayer result = quantize_layer(comm, layer.place, layer.weights, inputs, scheme);
        for (const auto& [name, weight] : named(result.weights)) {
          const GptqResult& found = result.integers.at(name);
          EXPECT_TRUE(dequantize(found.quantized, found.group_index, dtype).equal(weight)) << name;
          EXPECT_EQ(found.quantized.scale.scalar_type(), dtype);
        }
      }
    }
  }
}

// Sums of moments in another order move a value across a rounding boundary here and there, and from there on
// its row: fewer than 2 in 100 codes. RTN sums nothing.
TEST(QuantizeLayer, RanksShareSamplesAndRowsAndGiveTheCodesOfOneRank) {
  const Layer layer;
  for (Method method : {Method::kRtn, Method::kGptq, Method::kGptaq}) {
    const auto run = [&](dist::Communicator& comm) {
      CalibrationInputs inputs = layer.part(method, comm.rank(), comm.world_size());
      return quantize_layer(comm, layer.place, layer.weights, inputs, scheme_of(method));
    };
    dist::SingleCommunicator alone;
    const QuantizedLayer whole = run(alone);
    for (int world : {2, 3, 7}) {
      std::vector<QuantizedLayer> results(static_cast<size_t>(world));
      dist::run_ranks(
          world, [&](dist::Communicator& comm) { results[static_cast<size_t>(comm.rank())] = run(comm); });
      double differ = 0, all = 0;
      for (const auto& [name, one] : whole.integers) {
        const GptqResult& found = results[0].integers.at(name);
        differ += found.quantized.codes.ne(one.quantized.codes).sum().item<double>();
        all += static_cast<double>(found.quantized.codes.numel());
        for (const QuantizedLayer& other : results) {
          EXPECT_TRUE(other.integers.at(name).quantized.codes.equal(found.quantized.codes)) << name;
          EXPECT_EQ(other.relative_loss, results[0].relative_loss);
        }
      }
      EXPECT_LE(differ / all, method == Method::kRtn ? 0.0 : 0.02) << world << " ranks";
    }
  }
}

TEST(QuantizeLayer, LosesLessThanRoundingToNearestInEveryProjection) {
  dist::SingleCommunicator comm;
  for (at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    const Layer layer(dtype, dtype);
    for (int64_t group : {-1, 32}) {
      WeightScheme scheme = scheme_of(Method::kGptq, 4, dtype);
      ProjectionSpecs& s = scheme.specs;
      for (auto* spec : {&s.q, &s.k, &s.v, &s.o, &s.gate, &s.up, &s.down}) spec->group_size = group;
      CalibrationInputs inputs = layer.part(Method::kGptq);
      const QuantizedLayer result = quantize_layer(comm, layer.place, layer.weights, inputs, scheme);
      EXPECT_EQ(result.relative_loss.size(), 7U);
      for (const auto& [name, ratio] : result.relative_loss) {
        EXPECT_LT(ratio, 1) << name << " group " << group;
        EXPECT_GT(ratio, 0) << name;
      }
    }
  }
}

// q_proj has 64 rows: all of them are in the sample.
TEST(QuantizeLayer, ReportsTheProxyLossRelativeToRoundingToNearest) {
  dist::SingleCommunicator comm;
  const Layer layer;
  CalibrationInputs inputs = layer.part(Method::kGptq);
  const WeightScheme scheme = scheme_of(Method::kGptq);
  const QuantizedLayer result = quantize_layer(comm, layer.place, layer.weights, inputs, scheme);
  MomentAccumulator accumulator(64, false, at::kDouble);
  const model::QuantScheme off;
  const model::LayerContext plain{&layer.config, &layer.rope, &off, 1, kLength};
  for (const at::Tensor& h : layer.inputs) accumulator.add(model::qkv_input(plain, layer.frames, h), {}, 1);
  const InputMoments moments = accumulator.finish(comm, "q");
  const at::Tensor nearest = dequantize(quantize_rtn(layer.weights.q, scheme.specs.q, "q"), {}, at::kFloat);
  const double expected = testing::proxy_loss(layer.weights.q, result.weights.q, moments.hessian) /
                          testing::proxy_loss(layer.weights.q, nearest, moments.hessian);
  EXPECT_NEAR(result.relative_loss.at("self_attn.q_proj"), expected, 1e-4 * expected);
}

TEST(QuantizeLayer, NamesTheProjectionWhoseCalibrationIsNotFinite) {
  dist::SingleCommunicator comm;
  const Layer layer;
  CalibrationInputs inputs = layer.part(Method::kGptq);
  inputs.quantized[1] = inputs.quantized[1].mul(std::nan(""));
  EXPECT_THAT([&] { quantize_layer(comm, layer.place, layer.weights, inputs, scheme_of(Method::kGptq)); },
              ::testing::ThrowsMessage<Error>(::testing::HasSubstr("model.layers.3.self_attn.q_proj")));
}

TEST(QuantScheme, DownProjectionsInputMayHaveItsOwnWidth) {
  model::QuantConfig q;
  q.activation.bits = 4;
  EXPECT_EQ(model::quant_scheme(q).down_input.bits, 4);
  q.down_bits = 8;
  EXPECT_EQ(model::quant_scheme(q).down_input.bits, 8);
  EXPECT_EQ(model::quant_scheme(q).residual_input.bits, 4);
  EXPECT_EQ(model::quant_scheme(q).attention_output.bits, 4);
}

}  // namespace
}  // namespace spq::ptq
