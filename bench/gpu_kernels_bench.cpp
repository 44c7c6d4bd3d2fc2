// Every row kernel on a GPU against a copy on the device of as many bytes as it reads and writes, in turns in
// one run; the minimum of each counts. Counter of_copy: time of the copy / time of the kernel. Arguments:
// rows, columns.
#include <benchmark/benchmark.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include "core/error.h"
#include "kernels/bfloat16.h"
#include "kernels/blocks.h"
#include "kernels/hadamard.h"

namespace spq::kernels {
namespace {

constexpr int kRounds = 20;

void check_cuda(cudaError_t status) {
  check(status == cudaSuccess, "CUDA says: {}", cudaGetErrorString(status));
}

// Arrays of `values` values on the device, one after another, filled with noise.
template <class T>
class Arrays {
 public:
  Arrays(int64_t count, int64_t values)
      : values_(values), bytes_(static_cast<size_t>(count * values) * sizeof(T)) {
    check_cuda(cudaMalloc(&data_, bytes_));
    std::vector<T> noise(size_t{1} << 20);
    uint32_t state = 1;
    for (T& v : noise) {
      state = state * 1664525u + 1013904223u;
      v = static_cast<T>(static_cast<float>(state >> 8) / float(1 << 23) * 3.0f - 3.0f);
    }
    const size_t part = noise.size() * sizeof(T);
    for (size_t at = 0; at < bytes_; at += part) {
      const size_t size = std::min(part, bytes_ - at);
      check_cuda(cudaMemcpy(reinterpret_cast<char*>(data_) + at, noise.data(), size, cudaMemcpyHostToDevice));
    }
  }
  ~Arrays() { static_cast<void>(cudaFree(data_)); }
  Arrays(const Arrays&) = delete;
  Arrays& operator=(const Arrays&) = delete;
  T* operator[](int64_t index) { return data_ + index * values_; }

 private:
  int64_t values_;
  size_t bytes_;
  T* data_ = nullptr;
};

// Time on the device, between two events.
class DeviceTimer {
 public:
  DeviceTimer() {
    check_cuda(cudaEventCreate(&start_));
    check_cuda(cudaEventCreate(&stop_));
  }
  ~DeviceTimer() {
    static_cast<void>(cudaEventDestroy(start_));
    static_cast<void>(cudaEventDestroy(stop_));
  }
  DeviceTimer(const DeviceTimer&) = delete;
  DeviceTimer& operator=(const DeviceTimer&) = delete;
  double seconds(const std::function<void()>& body) {
    check_cuda(cudaEventRecord(start_));
    body();
    check_cuda(cudaEventRecord(stop_));
    check_cuda(cudaEventSynchronize(stop_));
    float milliseconds = 0;
    check_cuda(cudaEventElapsedTime(&milliseconds, start_, stop_));
    return milliseconds * 1e-3;
  }

 private:
  cudaEvent_t start_ = nullptr, stop_ = nullptr;
};

BlockTarget target() {
  return BlockTarget::cuda(nullptr);
}

// `moved`: arrays read plus arrays written.
template <class T>
void measure(benchmark::State& state, int64_t moved, const std::function<void()>& kernel) {
  const int64_t half = moved * state.range(0) * state.range(1) * static_cast<int64_t>(sizeof(T)) / 2;
  Arrays<char> copy(2, half);
  DeviceTimer timer;
  double copied = 1e9, best = 1e9;
  for (auto _ : state) {
    for (int round = 0; round < kRounds; ++round) {
      copied = std::min(copied, timer.seconds([&] {
        check_cuda(cudaMemcpyAsync(copy[1], copy[0], static_cast<size_t>(half), cudaMemcpyDeviceToDevice));
      }));
      best = std::min(best, timer.seconds(kernel));
    }
  }
  state.counters["of_copy"] = copied / best;
  state.counters["GB/s"] = static_cast<double>(2 * half) / best * 1e-9;
  state.counters["copy_GB/s"] = static_cast<double>(2 * half) / copied * 1e-9;
}

constexpr QuantSpec kPerToken{4, false, -1, true, 1.0};
constexpr QuantSpec kGroups{4, true, 128, true, 1.0};

template <class T>
void quant(benchmark::State& state, const QuantSpec& spec, bool with_error) {
  const int64_t rows = state.range(0), cols = state.range(1);
  Arrays<T> a(3, rows * cols);
  measure<T>(state, with_error ? 3 : 2, [&] {
    blocks::fake_quant_rows<T>(target(), a[0], a[1], with_error ? a[2] : nullptr, rows, cols, spec);
  });
}

template <class T>
void norm_quant(benchmark::State& state, const QuantSpec& spec) {
  const int64_t rows = state.range(0), cols = state.range(1);
  Arrays<T> a(3, rows * cols);
  measure<T>(state, 3,
             [&] { blocks::rms_norm_quant<T>(target(), a[0], a[1], a[2], rows, cols, 1e-5, spec); });
}

template <class T>
void norm(benchmark::State& state) {
  const int64_t rows = state.range(0), cols = state.range(1);
  Arrays<T> a(2, rows * cols);
  measure<T>(state, 2, [&] { blocks::rms_norm<T>(target(), a[0], a[1], rows, cols, 1e-5); });
}

template <class T>
void norm_gradient(benchmark::State& state) {
  const int64_t rows = state.range(0), cols = state.range(1);
  Arrays<T> a(3, rows * cols);
  measure<T>(state, 4,
             [&] { blocks::rms_norm_backward_add<T>(target(), a[0], a[1], a[2], rows, cols, 1e-5); });
}

// Rows of `n` values inside the rows of the benchmark; x_hat in place, as the network does.
template <class T>
void hadamard_point(benchmark::State& state, int64_t n) {
  const int64_t rows = state.range(0) * state.range(1) / n;
  const HadamardPlan plan = plan_hadamard(n);
  Arrays<T> a(1, rows * n);
  T* none = nullptr;
  measure<T>(state, 2,
             [&] { blocks::hadamard_quant_rows<T>(target(), a[0], a[0], none, rows, plan, kPerToken); });
}

template <class T>
void swiglu_forward(benchmark::State& state) {
  const int64_t n = state.range(0) * state.range(1);
  Arrays<T> a(3, n);
  measure<T>(state, 3, [&] { blocks::swiglu<T>(target(), a[0], a[1], a[2], n); });
}

template <class T>
void swiglu_gradient(benchmark::State& state) {
  const int64_t n = state.range(0) * state.range(1);
  Arrays<T> a(5, n);
  measure<T>(state, 5, [&] { blocks::swiglu_backward<T>(target(), a[0], a[1], a[2], a[3], a[4], n); });
}

template <class T>
void rope(benchmark::State& state) {
  constexpr int64_t kHeadDim = 128;
  const int64_t rows = state.range(0), cols = state.range(1);
  Arrays<T> a(1, rows * cols);
  Arrays<float> table(2, rows * kHeadDim / 2);
  measure<T>(state, 2, [&] {
    blocks::rope_rows<T>(target(), a[0], table[0], table[1], rows, cols / kHeadDim, kHeadDim,
                         RopeDirection::kForward);
  });
}

template <class T>
void cross_entropy(benchmark::State& state) {
  const int64_t rows = state.range(0), cols = state.range(1);
  Arrays<T> a(1, rows * cols);
  Arrays<double> losses(1, rows);
  int64_t* targets = nullptr;
  check_cuda(cudaMalloc(&targets, static_cast<size_t>(rows) * sizeof(int64_t)));
  check_cuda(cudaMemset(targets, 0, static_cast<size_t>(rows) * sizeof(int64_t)));
  // Read twice and written once: a row does not fit on chip.
  measure<T>(state, 3,
             [&] { blocks::cross_entropy_rows<T>(target(), a[0], targets, losses[0], rows, cols, 1e-4); });
  check_cuda(cudaFree(targets));
}

void add(const std::string& name, int64_t rows, int64_t cols,
         const std::function<void(benchmark::State&)>& body) {
  auto* b = benchmark::RegisterBenchmark(name.c_str(), body);
  b->ArgNames({"rows", "cols"})->Args({rows, cols})->Iterations(1)->Unit(benchmark::kMillisecond);
}

// Sizes of 8B (4096, 14336) and 70B (8192, 28672) models; arrays well beyond the cache of the device.
template <class T>
void add_all(const std::string& type) {
  for (const int64_t cols : {4096, 8192}) {
    const int64_t rows = 16384 * 4096 / cols;
    add("quant_hat_error/" + type, rows, cols, [](auto& s) { quant<T>(s, kPerToken, true); });
    add("quant_hat/" + type, rows, cols, [](auto& s) { quant<T>(s, kPerToken, false); });
    add("quant_groups_128/" + type, rows, cols, [](auto& s) { quant<T>(s, kGroups, true); });
    add("rms_norm/" + type, rows, cols, norm<T>);
    add("rms_norm_quant/" + type, rows, cols, [](auto& s) { norm_quant<T>(s, kPerToken); });
    add("rms_norm_quant_groups_128/" + type, rows, cols, [](auto& s) { norm_quant<T>(s, kGroups); });
    add("rms_norm_backward_add/" + type, rows, cols, norm_gradient<T>);
    add("hadamard_point_64/" + type, rows, cols, [](auto& s) { hadamard_point<T>(s, 64); });
    add("hadamard_point_128/" + type, rows, cols, [](auto& s) { hadamard_point<T>(s, 128); });
    add("rope_128/" + type, rows, cols, rope<T>);
  }
  for (const int64_t cols : {11008, 14336, 28672}) {
    const int64_t rows = cols == 28672 ? 2048 : 4096;
    add("hadamard_point/" + type, rows, cols, [cols](auto& s) { hadamard_point<T>(s, cols); });
    add("swiglu/" + type, rows, cols, swiglu_forward<T>);
    add("swiglu_backward/" + type, rows, cols, swiglu_gradient<T>);
  }
  add("cross_entropy/" + type, 1024, 128256, cross_entropy<T>);
}

int run(int argc, char** argv) {
  int devices = 0;
  const cudaError_t status = cudaGetDeviceCount(&devices);
  if (status != cudaSuccess || devices == 0) {
    std::fprintf(stderr, "gpu_kernels_bench: no GPU: %s\n",
                 status != cudaSuccess ? cudaGetErrorString(status) : "the driver has no CUDA device");
    return 1;
  }
  add_all<bfloat16>("bf16");
  add_all<float>("fp32");
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}

}  // namespace
}  // namespace spq::kernels

int main(int argc, char** argv) {
  try {
    return spq::kernels::run(argc, argv);
  } catch (const spq::Error& e) {
    std::fprintf(stderr, "gpu_kernels_bench: %s\n", e.what());
    return 1;
  }
}
