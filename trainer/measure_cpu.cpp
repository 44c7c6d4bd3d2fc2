#include <ATen/Parallel.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/zeros.h>
#include <fmt/format.h>
#include <time.h>

#include <algorithm>
#include <limits>

#include "model/attention.h"
#include "model/product.h"
#include "model/quant_point.h"
#include "model/swiglu.h"
#include "trainer/devices.h"

namespace spq::trainer {
namespace {

constexpr int kRepeats = 5;
// Larger products run no faster, but longer.
constexpr int64_t kMostTokens = 2048, kMostWidth = 4096;
constexpr int64_t kCopiedElements = int64_t{16} << 20;  // fp32: more than a cache

double processor_seconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

// Of the fastest repeat, in processor time per thread: other work on the machine does not count. The first
// one warms up.
template <class Body>
double seconds_of(const Body& body) {
  double best = std::numeric_limits<double>::infinity();
  for (int i = 0; i <= kRepeats; ++i) {
    const double start = processor_seconds();
    body();
    if (i > 0) best = std::min(best, processor_seconds() - start);
  }
  return best / at::get_num_threads();
}

// A step meets weights that no cache holds, as inputs [tokens, width] x weights^T, as gradients of outputs x
// weights, and in the sums over tokens of the moments.
double product_rate(int64_t tokens, int64_t width, int64_t rows, at::ScalarType dtype) {
  const int64_t copies = std::max<int64_t>(2, kCopiedElements / (width * rows));
  const at::Tensor x = at::rand({tokens, width}, at::kFloat).to(dtype);
  const at::Tensor y = at::rand({tokens, rows}, at::kFloat).to(dtype);
  const at::Tensor w = at::rand({copies, rows, width}, at::kFloat).to(dtype);
  at::Tensor moment = at::zeros({width, width}, at::kFloat);
  const double forward = seconds_of([&] {
    for (int64_t i = 0; i < copies; ++i) model::product(x, w[i].t());
  });
  const double backward = seconds_of([&] {
    for (int64_t i = 0; i < copies; ++i) model::product(y, w[i]);
  });
  const double moments = seconds_of([&] { model::accumulate_moment(moment, x, x); });
  const auto flops = [&](int64_t n) {
    return 2.0 * static_cast<double>(tokens) * static_cast<double>(width) * static_cast<double>(n);
  };
  return (2 * flops(copies * rows) + flops(width)) / (forward + backward + moments);
}

// Passes as the time plan counts them: SwiGLU (3) and a quantization point behind a Hadamard transform (2).
double pass_rate(int64_t tokens, int64_t columns, at::ScalarType dtype) {
  const at::Tensor gate = at::rand({tokens, columns}, at::kFloat).to(dtype);
  const at::Tensor up = at::rand({tokens, columns}, at::kFloat).to(dtype);
  const model::Frame frame(kernels::plan_hadamard(columns));
  kernels::QuantSpec spec;
  spec.bits = 4;
  const double seconds = seconds_of([&] { model::quantize_values(model::swiglu(gate, up), frame, spec); });
  return 5.0 * static_cast<double>(gate.nbytes()) / seconds;
}

// Counted as the time plan does: two products over the lower triangle.
double attention_rate(const data::LlamaConfig& model, int64_t length, at::ScalarType dtype) {
  const model::AttentionShape shape = {1, length, model.num_heads, model.num_kv_heads, model.head_dim};
  const auto heads = [&](int64_t n) { return at::rand({length, n, model.head_dim}, at::kFloat).to(dtype); };
  const at::Tensor q = heads(model.num_heads), k = heads(model.num_kv_heads), v = heads(model.num_kv_heads);
  const double seconds = seconds_of([&] { model::attention(q, k, v, shape); });
  const auto columns = static_cast<double>(model.num_heads * model.head_dim);
  return 2.0 * static_cast<double>(length) * static_cast<double>(length) * columns / seconds;
}

}  // namespace

Device measure_cpu(const data::LlamaConfig& model, const BatchConfig& batch, int threads) {
  at::set_num_threads(threads);
  const int64_t tokens = std::min(batch.micro_batch * batch.sequence_length, kMostTokens);
  const int64_t width = std::min(model.hidden_size, kMostWidth);
  const int64_t rows = std::min(model.intermediate_size, kMostWidth);
  Device d;
  d.name = "cpu";
  d.source = fmt::format("measured here with {} thread(s)", threads);
  d.bf16_rate = product_rate(tokens, width, rows, at::kBFloat16);
  d.fp32_rate = product_rate(tokens, width, rows, at::kFloat);
  const int64_t length = std::min(batch.sequence_length, kMostTokens);
  d.bf16_attention = attention_rate(model, length, at::kBFloat16);
  d.fp32_attention = attention_rate(model, length, at::kFloat);
  d.bf16_passes = pass_rate(tokens, model.intermediate_size, at::kBFloat16);
  d.fp32_passes = pass_rate(tokens, model.intermediate_size, at::kFloat);
  const at::Tensor from = at::rand({kCopiedElements}, at::kFloat);
  const at::Tensor to = at::empty_like(from);
  d.link_rate = static_cast<double>(from.nbytes()) / seconds_of([&] { to.copy_(from); });
  return d;
}

}  // namespace spq::trainer
