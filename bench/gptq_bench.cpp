// GPTQ of one matrix of LLaMA-3-8B's shapes against the products that it cannot do without, measured in turn
// in the same run: X^T X by panels on and right of the diagonal, the library's Cholesky factorisation, and
// the updates of later columns as plain products of the shapes that the solver uses. The inverse of the
// Cholesky factor, which the published algorithm also computes, is not counted: this one needs none.
// Arguments: columns, group size, clip search. Counters in seconds: least of several repetitions, phase by
// phase, with one calibration sequence. `ratio_one` is of these times; `ratio` is of a calibration with 128
// sequences, the default of spq-ptq: 128 times the inputs, once the rest.
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/linalg_cholesky_ex.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <benchmark/benchmark.h>

#include "bench/least_time.h"
#include "dist/single_communicator.h"
#include "ptq/gptq.h"
#include "ptq/hessian.h"

namespace spq::ptq {
namespace {

constexpr int64_t kRows = 4096;
constexpr int64_t kTokens = 2048;     // of a sequence
constexpr double kSequences = 128.0;  // of the default calibration
constexpr int64_t kPanel = 512;

using Phase = bench::LeastTime;

at::Tensor normal(int64_t rows, int64_t columns, uint64_t seed) {
  at::Generator generator = at::detail::createCPUGenerator(seed);
  return at::randn({rows, columns}, generator, at::TensorOptions(at::kFloat));
}

void multiply_inputs(const at::Tensor& x, const at::Tensor& h) {
  const int64_t columns = x.size(1);
  for (int64_t begin = 0; begin < columns; begin += kPanel) {
    h.narrow(0, begin, kPanel)
        .narrow(1, begin, columns - begin)
        .addmm_(x.narrow(1, begin, kPanel).t(), x.narrow(1, begin, columns - begin));
  }
}

void update_later_columns(const at::Tensor& feedback, const at::Tensor& work, int64_t block) {
  const auto update = [&](int64_t from, int64_t to, int64_t end) {
    if (from == to || to == end) return;
    work.narrow(0, to, end - to)
        .addmm_(feedback.narrow(0, from, to - from).narrow(1, to, end - to).t(),
                work.narrow(0, from, to - from));
  };
  for (int64_t begin = 0; begin < work.size(0); begin += kPanel) {
    update(0, begin, begin + kPanel);
    for (int64_t b = begin; b < begin + kPanel; b += block) update(b, b + block, begin + kPanel);
  }
}

void gptq_against_its_products(benchmark::State& state) {
  const int64_t columns = state.range(0);
  const WeightQuantSpec spec{4, true, state.range(1), state.range(2) != 0, at::kFloat};
  const GptqOptions options;
  const at::Tensor x = normal(kTokens, columns, 1);
  const at::Tensor weight = normal(kRows, columns, 2).mul_(0.02);
  const at::Tensor work = normal(columns, kRows, 3).mul_(0.02);
  dist::SingleCommunicator comm;
  Phase add, finish, factor, quantize, product, cholesky, updates;
  for (auto _ : state) {
    for (int repetition = 0; repetition < (columns > 8192 ? 3 : 6); ++repetition) {
      MomentAccumulator accumulator(columns, /*with_cross=*/false, at::kFloat);
      add.time([&] { accumulator.add(x, {}, 1); });
      at::Tensor h = at::zeros({columns, columns});
      product.time([&] { multiply_inputs(x, h); });
      InputMoments moments;
      finish.time([&] { moments = accumulator.finish(comm, "inputs"); });
      h = moments.hessian.clone();
      h.diagonal().add_(h.diagonal().mean(), 0.01);
      cholesky.time([&] { benchmark::DoNotOptimize(at::linalg_cholesky_ex(h)); });
      h.reset();
      HessianFactor found;
      factor.time([&] { found = factor_hessian(moments, {}, "inputs"); });
      moments = {};
      const at::Tensor later = work.clone();
      updates.time([&] { update_later_columns(found.feedback, later, options.block_size); });
      quantize.time([&] { benchmark::DoNotOptimize(quantize_gptq(weight, found, spec, options, "weight")); });
    }
  }
  const auto ours = [&](double sequences) {
    return sequences * add.seconds() + finish.seconds() + factor.seconds() + quantize.seconds();
  };
  const auto products = [&](double sequences) {
    return sequences * product.seconds() + cholesky.seconds() + updates.seconds();
  };
  state.counters["accumulate"] = add.seconds();
  state.counters["finish"] = finish.seconds();
  state.counters["factor"] = factor.seconds();
  state.counters["quantize"] = quantize.seconds();
  state.counters["product"] = product.seconds();
  state.counters["cholesky"] = cholesky.seconds();
  state.counters["updates"] = updates.seconds();
  state.counters["ratio_one"] = ours(1) / products(1);
  state.counters["ratio"] = ours(kSequences) / products(kSequences);
}

BENCHMARK(gptq_against_its_products)
    ->ArgNames({"columns", "group", "clip"})
    ->ArgsProduct({{4096, 14336}, {-1, 128}, {0, 1}})
    ->Iterations(1)
    ->UseRealTime()
    ->Unit(benchmark::kSecond);

}  // namespace
}  // namespace spq::ptq
