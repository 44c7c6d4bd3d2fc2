// Every row kernel against memcpy of as many bytes as it reads and writes, in turns in one run; the minimum
// of each counts. Counter of_memcpy: time of memcpy / time of the kernel. Arguments: rows, columns, threads.
#include <ATen/Parallel.h>
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "kernels/bfloat16.h"
#include "kernels/cross_entropy.h"
#include "kernels/fake_quant.h"
#include "kernels/hadamard.h"
#include "kernels/rms_norm.h"
#include "kernels/rope.h"
#include "kernels/swiglu.h"
#include "model/rows.h"

namespace spq::kernels {
namespace {

constexpr int kRounds = 15;

double seconds(const std::function<void()>& body) {
  const auto start = std::chrono::steady_clock::now();
  body();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Arrays of rows x cols values, one after another.
template <class T>
class Arrays {
 public:
  Arrays(int64_t count, int64_t values) : values_(values), data_(static_cast<size_t>(count * values)) {
    uint32_t state = 1;
    for (T& v : data_) {
      state = state * 1664525u + 1013904223u;
      v = static_cast<T>(static_cast<float>(state >> 8) / float(1 << 23) * 3.0f - 3.0f);
    }
  }
  T* operator[](int64_t index) { return data_.data() + index * values_; }
  size_t bytes() const { return data_.size() * sizeof(T); }

 private:
  int64_t values_;
  std::vector<T> data_;
};

void copy_in_threads(char* to, const char* from, int64_t bytes) {
  constexpr int64_t kPage = 4096;
  model::for_rows(bytes / kPage, kPage, [&](int64_t begin, int64_t end) {
    std::memcpy(to + begin * kPage, from + begin * kPage, static_cast<size_t>((end - begin) * kPage));
  });
}

// `moved`: arrays read plus arrays written. kernel(first row, last row) works on `arrays`.
template <class T>
void measure(benchmark::State& state, Arrays<T>& arrays, int64_t moved,
             const std::function<void(int64_t, int64_t)>& kernel) {
  const int64_t rows = state.range(0);
  const int64_t cols = state.range(1);
  const int64_t half = moved * rows * cols * static_cast<int64_t>(sizeof(T)) / 2;
  std::vector<char> from(static_cast<size_t>(half), 1), to(static_cast<size_t>(half), 2);
  at::set_num_threads(static_cast<int>(state.range(2)));
  double copy = 1e9, best = 1e9;
  for (auto _ : state) {
    for (int round = 0; round < kRounds; ++round) {
      copy = std::min(copy, seconds([&] { copy_in_threads(to.data(), from.data(), half); }));
      best = std::min(best, seconds([&] { model::for_rows(rows, cols, kernel); }));
    }
  }
  benchmark::DoNotOptimize(arrays[0]);
  state.counters["of_memcpy"] = copy / best;
  state.counters["GB/s"] = static_cast<double>(2 * half) / best * 1e-9;
  state.counters["memcpy_GB/s"] = static_cast<double>(2 * half) / copy * 1e-9;
}

constexpr QuantSpec kPerToken{4, false, -1, true, 1.0};
constexpr QuantSpec kSymmetric{4, true, -1, true, 1.0};
constexpr QuantSpec kGroups{4, false, 128, false, 1.0};

template <class T>
void quant(benchmark::State& state, const QuantSpec& spec, bool with_error) {
  const int64_t cols = state.range(1);
  Arrays<T> a(3, state.range(0) * cols);
  measure<T>(state, a, with_error ? 3 : 2, [&](int64_t begin, int64_t end) {
    const int64_t at = begin * cols;
    fake_quant_rows(a[0] + at, a[1] + at, with_error ? a[2] + at : nullptr, end - begin, cols, spec);
  });
}

template <class T>
void norm(benchmark::State& state) {
  const int64_t cols = state.range(1);
  Arrays<T> a(2, state.range(0) * cols);
  measure<T>(state, a, 2, [&](int64_t begin, int64_t end) {
    rms_norm(a[0] + begin * cols, a[1] + begin * cols, end - begin, cols, 1e-5);
  });
}

template <class T>
void norm_quant(benchmark::State& state) {
  const int64_t cols = state.range(1);
  Arrays<T> a(3, state.range(0) * cols);
  measure<T>(state, a, 3, [&](int64_t begin, int64_t end) {
    const int64_t at = begin * cols;
    rms_norm_quant(a[0] + at, a[1] + at, a[2] + at, end - begin, cols, 1e-5, kPerToken);
  });
}

template <class T>
void norm_backward(benchmark::State& state) {
  const int64_t cols = state.range(1);
  Arrays<T> a(3, state.range(0) * cols);
  measure<T>(state, a, 4, [&](int64_t begin, int64_t end) {
    const int64_t at = begin * cols;
    rms_norm_backward_add(a[0] + at, a[1] + at, a[2] + at, end - begin, cols, 1e-5);
  });
}

// Rows of `n` values inside the rows of the benchmark; x_hat in place, as the network does.
template <class T>
void hadamard_point(benchmark::State& state, int64_t n) {
  const int64_t parts = state.range(1) / n;
  const HadamardPlan plan = plan_hadamard(n);
  Arrays<T> a(1, state.range(0) * state.range(1));
  measure<T>(state, a, 2, [&](int64_t begin, int64_t end) {
    T* x = a[0] + begin * state.range(1);
    hadamard_quant_rows<T>(x, x, nullptr, (end - begin) * parts, plan, kPerToken);
  });
}

template <class T>
void swiglu_forward(benchmark::State& state) {
  const int64_t cols = state.range(1);
  Arrays<T> a(3, state.range(0) * cols);
  measure<T>(state, a, 3, [&](int64_t begin, int64_t end) {
    const int64_t at = begin * cols;
    swiglu(a[0] + at, a[1] + at, a[2] + at, (end - begin) * cols);
  });
}

template <class T>
void swiglu_gradient(benchmark::State& state) {
  const int64_t cols = state.range(1);
  Arrays<T> a(4, state.range(0) * cols);
  measure<T>(state, a, 5, [&](int64_t begin, int64_t end) {
    const int64_t at = begin * cols;
    swiglu_backward(a[0] + at, a[1] + at, a[2] + at, a[3] + at, a[2] + at, (end - begin) * cols);
  });
}

template <class T>
void rope(benchmark::State& state) {
  constexpr int64_t kHeadDim = 128;
  const int64_t cols = state.range(1);
  Arrays<T> a(1, state.range(0) * cols);
  std::vector<float> cos(static_cast<size_t>(state.range(0) * kHeadDim / 2), 0.6f), sin(cos.size(), 0.8f);
  measure<T>(state, a, 2, [&](int64_t begin, int64_t end) {
    const int64_t at = begin * kHeadDim / 2;
    rope_rows(a[0] + begin * cols, cos.data() + at, sin.data() + at, end - begin, cols / kHeadDim, kHeadDim,
              RopeDirection::kForward);
  });
}

template <class T>
void cross_entropy(benchmark::State& state) {
  const int64_t vocab = state.range(1);
  Arrays<T> a(1, state.range(0) * vocab);
  std::vector<int64_t> targets(static_cast<size_t>(state.range(0)), 3);
  std::vector<double> losses(targets.size());
  measure<T>(state, a, 2, [&](int64_t begin, int64_t end) {
    cross_entropy_rows(a[0] + begin * vocab, targets.data() + begin, losses.data() + begin, end - begin,
                       vocab, 1e-4);
  });
}

struct Shapes {
  std::vector<int64_t> rows = {512, 2048};
  std::vector<int64_t> cols = {4096, 14336};
};

void add(const std::string& name, const Shapes& shapes, const std::function<void(benchmark::State&)>& body) {
  auto* b = benchmark::RegisterBenchmark(name.c_str(), body);
  b->ArgNames({"rows", "cols", "threads"})->ArgsProduct({shapes.rows, shapes.cols, {1, 2}});
  b->Iterations(1)->Unit(benchmark::kMillisecond);
}

template <class T>
void add_all(const std::string& type) {
  add("quant_hat_error/" + type, {}, [](auto& s) { quant<T>(s, kPerToken, true); });
  add("quant_hat/" + type, {}, [](auto& s) { quant<T>(s, kPerToken, false); });
  add("quant_symmetric/" + type, {}, [](auto& s) { quant<T>(s, kSymmetric, true); });
  add("quant_groups_128/" + type, {}, [](auto& s) { quant<T>(s, kGroups, true); });
  const Shapes hidden{{512, 2048}, {4096}};
  add("rms_norm/" + type, hidden, norm<T>);
  add("rms_norm_quant/" + type, hidden, norm_quant<T>);
  add("rms_norm_backward_add/" + type, hidden, norm_backward<T>);
  const Shapes inner{{512, 2048}, {14336}};
  add("hadamard_point_128/" + type, hidden, [](auto& s) { hadamard_point<T>(s, 128); });
  add("hadamard_point_14336/" + type, inner, [](auto& s) { hadamard_point<T>(s, 14336); });
  add("swiglu/" + type, inner, swiglu_forward<T>);
  add("swiglu_backward/" + type, inner, swiglu_gradient<T>);
  add("rope_128/" + type, hidden, rope<T>);
  add("cross_entropy/" + type, {{128}, {128256}}, cross_entropy<T>);
}

const bool kRegistered = [] {
  add_all<bfloat16>("bf16");
  add_all<float>("fp32");
  return true;
}();

}  // namespace
}  // namespace spq::kernels
