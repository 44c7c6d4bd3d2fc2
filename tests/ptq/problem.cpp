#include "tests/ptq/problem.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/randn.h>

#include <cmath>

#include "dist/single_communicator.h"

namespace spq::ptq::testing {

Problem random_problem(int64_t rows, int64_t columns, int64_t tokens, uint64_t seed) {
  at::Generator generator = at::detail::createCPUGenerator(seed);
  const auto normal = [&](int64_t n, int64_t m) {
    return at::randn({n, m}, generator, at::TensorOptions(at::kFloat));
  };
  const at::Tensor weight = normal(rows, columns).mul_(0.05);
  const at::Tensor mix = normal(columns, columns).mul_(0.6 / std::sqrt(static_cast<double>(columns)));
  at::Tensor x_fp = normal(tokens, columns);
  x_fp = x_fp.add(at::mm(normal(tokens, columns).mul_(2), mix));
  x_fp.select(1, columns / 3).mul_(8);  // an outlier channel
  const at::Tensor x = x_fp.add(normal(tokens, columns).mul_(0.2));
  return {weight, x, x_fp};
}

InputMoments moments_of(const at::Tensor& x, const at::Tensor& x_fp, at::ScalarType dtype) {
  dist::SingleCommunicator comm;
  MomentAccumulator accumulator(x.size(1), x_fp.defined(), dtype);
  accumulator.add(x, x_fp, 1);
  return accumulator.finish(comm, "test inputs");
}

GptqResult solve(const at::Tensor& weight, const InputMoments& moments, const WeightQuantSpec& spec,
                 const FactorOptions& factor_options, const GptqOptions& options) {
  const HessianFactor factor = factor_hessian(moments, factor_options, "test inputs");
  return quantize_gptq(weight, factor, spec, options, "test weight");
}

double proxy_loss(const at::Tensor& weight, const at::Tensor& quantized, const at::Tensor& hessian) {
  const at::Tensor error = weight.to(at::kDouble).sub(quantized.to(at::kDouble));
  return at::mm(error, hessian.to(at::kDouble)).mul_(error).sum().item<double>();
}

double output_loss(const Problem& problem, const at::Tensor& quantized) {
  const at::Tensor wanted = at::mm(problem.x_fp.to(at::kDouble), problem.weight.to(at::kDouble).t());
  const at::Tensor found = at::mm(problem.x.to(at::kDouble), quantized.to(at::kDouble).t());
  return wanted.sub(found).square().sum().item<double>();
}

int64_t rows_that_differ(const at::Tensor& a, const at::Tensor& b) {
  return a.to(at::kDouble).ne(b.to(at::kDouble)).any(1).sum().item<int64_t>();
}

}  // namespace spq::ptq::testing
