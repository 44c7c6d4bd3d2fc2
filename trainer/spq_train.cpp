// spq-train: learn rotations. Parses the command line, starts the communicator, runs, reports one error on
// every way out.
#include <ATen/Parallel.h>
#include <fcntl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <iostream>
#include <memory>
#include <optional>
#include <thread>

#include "core/error.h"
#include "dist/collectives.h"
#include "dist/mpi_communicator.h"
#include "dist/single_communicator.h"
#include "trainer/config_check.h"
#include "trainer/config_yaml.h"
#include "trainer/job.h"
#include "trainer/stop_signal.h"
#include "trainer/train_loop.h"

namespace {

using namespace spq;

constexpr int kExitUsage = 2;

struct Arguments {
  std::string config;
  std::vector<std::string> overrides;
  bool check_only = false;
};

// Threads of this rank: as configured, else its share of the host's processors.
void set_threads(const trainer::ComputeConfig& config, int local_world_size) {
  const int processors = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  const int share = std::max(1, processors / local_world_size);
  at::set_num_threads(config.threads > 0 ? static_cast<int>(config.threads) : share);
}

trainer::Job open_job(dist::Communicator& comm, const Arguments& arguments) {
  std::optional<trainer::Job> job;
  trainer::Config config;
  dist::collectively(comm, [&] {
    config = trainer::load_config(arguments.config, arguments.overrides);
    trainer::validate(config);
  });
  const std::vector<std::string> fast = dist::gather_texts(comm, trainer::has_fast_bf16() ? "yes" : "no");
  const bool fast_bf16 = std::count(fast.begin(), fast.end(), "yes") == comm.world_size();
  const int local_world_size = dist::local_world_size(comm);
  dist::collectively(
      comm, [&] { job = trainer::open_job(config, comm.world_size(), local_world_size, fast_bf16); });
  set_threads(config.compute, local_world_size);
  return std::move(*job);
}

// What is behind standard output. mpirun gives its ranks a terminal of their own even when it writes to a
// file itself, so under MPI the launcher's output counts; where that cannot be seen, it is no terminal.
Terminal output_terminal() {
  if (!dist::launched_by_mpi()) return detect_terminal(STDOUT_FILENO);
  const std::string launcher_output = fmt::format("/proc/{}/fd/{}", getppid(), STDOUT_FILENO);
  const int file = open(launcher_output.c_str(), O_RDONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
  if (file < 0) return {};
  const Terminal terminal = detect_terminal(file);
  close(file);
  return terminal;
}

int run(dist::Communicator& comm, const Arguments& arguments, trainer::StopSignal& stop) {
  std::ostream* out = comm.rank() == 0 ? &std::cout : nullptr;
  const trainer::Job job = open_job(comm, arguments);
  if (out) {
    *out << fmt::format("spq-train: {} on {} rank(s) ({}), {} threads each, {}; one rank needs {}\n",
                        arguments.config, comm.world_size(), comm.backend(), at::get_num_threads(),
                        c10::toString(job.compute_dtype), job.memory.describe());
    if (job.config.batch.sequences < comm.world_size()) {
      *out << fmt::format("note: batch.sequences is {}, so {} rank(s) hold weights but compute nothing\n",
                          job.config.batch.sequences, comm.world_size() - job.config.batch.sequences);
    }
  }
  if (arguments.check_only) {
    if (out) *out << "configuration, model, tokens and memory are fine\n";
    return 0;
  }
  const auto outcome = trainer::run_job(comm, job, stop, out, output_terminal());
  return outcome == trainer::Outcome::kStopped ? trainer::kExitStopped : 0;
}

// One message for a failure: rank 0 speaks when all ranks fail together, otherwise the rank that failed does
// and ends the others.
int run_reporting_errors(dist::Communicator& comm, const Arguments& arguments, trainer::StopSignal& stop) {
  try {
    return run(comm, arguments, stop);
  } catch (const AgreedError& error) {
    if (comm.rank() == 0) std::fprintf(stderr, "spq-train: error: %s\n", error.what());
    return 1;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "spq-train: error on rank %d: %s\n", comm.rank(), error.what());
    comm.abort(error.what());
    return 1;
  }
}

}  // namespace

int main(int argc, char** argv) {
  Arguments arguments;
  CLI::App app(
      "Learns rotations that make a LLaMA model quantize well. Under mpirun the ranks share weights and "
      "work.",
      "spq-train");
  app.add_option("config", arguments.config, "YAML configuration (docs/configuration.md)")->required();
  app.add_option("--set", arguments.overrides, "Override one key, for example --set optimizer.steps=50")
      ->allow_extra_args(false);
  app.add_flag("--check", arguments.check_only,
               "Check configuration, model, tokens and memory; train nothing");
  app.set_version_flag("--version", "spq-train " SPQ_VERSION);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {  // help and version too; one rank speaks
    const bool quiet = dist::launched_rank() != 0;
    const int status = quiet ? error.get_exit_code() : app.exit(error);
    return status == 0 ? 0 : kExitUsage;
  }

  trainer::StopSignal stop;  // before any thread is started
  try {
    if (!dist::launched_by_mpi()) {
      dist::SingleCommunicator comm;
      return run_reporting_errors(comm, arguments, stop);
    }
    dist::MpiSession session;
    const std::unique_ptr<dist::Communicator> comm = dist::make_mpi_communicator(session);
    return run_reporting_errors(*comm, arguments, stop);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "spq-train: error: %s\n", error.what());
    return 1;
  }
}
