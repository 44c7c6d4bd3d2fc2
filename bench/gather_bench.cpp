// Gathering one LLaMA-3-8B layer (bf16) over MPI: through shared memory, between nodes, by MPI itself, and
// memcpy of the same bytes. Each time includes reading what was gathered once. Run it with two ranks:
//   source launch/environment.sh && mpirun -np 2 "${mpi_options[@]}" gather_bench
// Times are those of the slowest rank.
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <benchmark/benchmark.h>
#include <mpi.h>

#include <chrono>
#include <cstring>
#include <memory>
#include <vector>

#include "dist/collectives.h"
#include "dist/mpi_communicator.h"

namespace {

using spq::dist::Communicator;

constexpr int64_t kWidth = 4096;
constexpr int64_t kRows[] = {4096, 1024, 1024, 4096, 14336, 14336, 14336};
constexpr int kIterations = 10;

int64_t layer_bytes() {
  int64_t rows = 0;
  for (const int64_t r : kRows) rows += r;
  return rows * kWidth * 2;
}

spq::dist::ShardUnit layer_shard(const Communicator& comm) {
  spq::dist::ShardUnit unit;
  for (const int64_t num_rows : kRows) {
    const spq::dist::RowPartition rows(num_rows, comm.world_size());
    unit.push_back({at::full({rows.count(comm.rank()), kWidth}, 1, at::kBFloat16), rows});
  }
  return unit;
}

void read_through(const void* data, int64_t num_bytes) {
  const auto* words = static_cast<const uint64_t*>(data);
  uint64_t sum = 0;
  for (int64_t i = 0; i < num_bytes / 8; ++i) sum += words[i];
  benchmark::DoNotOptimize(sum);
}

/// Times `body` on all ranks together; every rank does as many iterations.
template <class Body>
void measure(benchmark::State& state, int64_t num_bytes, const Body& body) {
  body();  // buffers exist from here on, as in all walks but the first
  for (auto unused : state) {
    MPI_Barrier(MPI_COMM_WORLD);
    const auto start = std::chrono::steady_clock::now();
    body();
    double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    MPI_Allreduce(MPI_IN_PLACE, &seconds, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
    state.SetIterationTime(seconds);
  }
  if (num_bytes > 0) state.SetBytesProcessed(num_bytes * static_cast<int64_t>(state.iterations()));
}

void gather_layer(benchmark::State& state, int ranks_per_node) {
  spq::dist::MpiSession session;
  const auto comm = make_mpi_communicator(session, {.timeout = 60, .ranks_per_node = ranks_per_node});
  std::vector<spq::dist::ShardUnit> units;
  units.push_back(layer_shard(*comm));
  const auto store = comm->make_shards(std::move(units));
  measure(state, layer_bytes(), [&] {
    const spq::dist::GatheredUnit gathered = store->gather(0);
    for (const auto& work : gathered.works) work->wait();
    for (const at::Tensor& matrix : gathered.matrices) {
      read_through(matrix.const_data_ptr(), static_cast<int64_t>(matrix.nbytes()));
    }
    store->drop(0);
  });
}

void copy_layer(benchmark::State& state) {
  const at::Tensor from = at::full({layer_bytes()}, 1, at::kByte);
  const at::Tensor to = at::zeros({layer_bytes()}, at::kByte);
  measure(state, layer_bytes(), [&] {
    std::memcpy(to.mutable_data_ptr(), from.const_data_ptr(), from.nbytes());
    read_through(to.const_data_ptr(), layer_bytes());
  });
}

void mpi_allgather(benchmark::State& state) {
  int world_size = 0;
  MPI_Comm_size(MPI_COMM_WORLD, &world_size);
  const int64_t part = layer_bytes() / world_size;
  const at::Tensor shard = at::full({part}, 1, at::kByte);
  const at::Tensor whole = at::zeros({part * world_size}, at::kByte);
  measure(state, layer_bytes(), [&] {
    MPI_Allgather(shard.const_data_ptr(), static_cast<int>(part), MPI_BYTE, whole.mutable_data_ptr(),
                  static_cast<int>(part), MPI_BYTE, MPI_COMM_WORLD);
    read_through(whole.const_data_ptr(), layer_bytes());
  });
}

void reduce_sum(benchmark::State& state) {
  spq::dist::MpiSession session;
  const auto comm = make_mpi_communicator(session, {.timeout = 60});
  at::Tensor tensor = at::zeros({state.range(0)}, at::kFloat);
  measure(state, static_cast<int64_t>(tensor.nbytes()), [&] { all_reduce_sum(*comm, tensor); });
}

void barrier(benchmark::State& state) {
  spq::dist::MpiSession session;
  const auto comm = make_mpi_communicator(session, {.timeout = 60});
  measure(state, 0, [&] { comm->barrier(); });
}

void mpi_allreduce(benchmark::State& state) {
  const at::Tensor tensor = at::zeros({state.range(0)}, at::kFloat);
  measure(state, static_cast<int64_t>(tensor.nbytes()), [&] {
    MPI_Allreduce(MPI_IN_PLACE, tensor.mutable_data_ptr(), static_cast<int>(state.range(0)), MPI_FLOAT,
                  MPI_SUM, MPI_COMM_WORLD);
  });
}

void mpi_barrier(benchmark::State& state) {
  measure(state, 0, [] { MPI_Barrier(MPI_COMM_WORLD); });
}

// One iteration after the other on every rank: the number may not depend on what a rank measures.
void register_all(int world_size) {
  const auto add = [](const char* name, auto function) {
    return benchmark::RegisterBenchmark(name, function)
        ->UseManualTime()
        ->Iterations(kIterations)
        ->Unit(benchmark::kMillisecond);
  };
  add("memcpy", copy_layer);
  add("gather/real_nodes", [](benchmark::State& state) { gather_layer(state, 0); });
  add("gather/mpi_allgather", mpi_allgather);
  add("gather/nodes_of_one_rank", [](benchmark::State& state) { gather_layer(state, 1); });
  if (world_size > 2)
    add("gather/nodes_of_two_ranks", [](benchmark::State& state) { gather_layer(state, 2); });
  constexpr int64_t kRotation = 4096 * 4096;
  add("all_reduce_sum", reduce_sum)->Arg(kRotation);
  add("mpi_allreduce", mpi_allreduce)->Arg(kRotation);
  add("all_reduce_sum", reduce_sum)->Arg(16)->Iterations(1000)->Unit(benchmark::kMicrosecond);
  add("mpi_allreduce", mpi_allreduce)->Arg(16)->Iterations(1000)->Unit(benchmark::kMicrosecond);
  add("barrier", barrier)->Iterations(1000)->Unit(benchmark::kMicrosecond);
  add("mpi_barrier", mpi_barrier)->Iterations(1000)->Unit(benchmark::kMicrosecond);
}

/// For the ranks that do not speak.
class Silence final : public benchmark::BenchmarkReporter {
 public:
  bool ReportContext(const Context&) override { return true; }
  void ReportRuns(const std::vector<Run>&) override {}
};

}  // namespace

int main(int argc, char** argv) {
  const spq::dist::MpiSession session;
  int rank = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  int world_size = 0;
  MPI_Comm_size(MPI_COMM_WORLD, &world_size);
  register_all(world_size);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  Silence silence;
  rank == 0 ? benchmark::RunSpecifiedBenchmarks() : benchmark::RunSpecifiedBenchmarks(&silence);
  return 0;
}
