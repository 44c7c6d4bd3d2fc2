// spq-train: learn rotations.
#include <ATen/Parallel.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <iostream>
#include <optional>

#include "core/error.h"
#include "dist/collectives.h"
#include "dist/mpi_communicator.h"
#include "dist/program.h"
#include "trainer/config_check.h"
#include "trainer/config_yaml.h"
#include "trainer/job.h"
#include "trainer/stop_signal.h"
#include "trainer/train_loop.h"

namespace {

using namespace spq;

trainer::Job open_job(dist::Communicator& comm, const dist::Arguments& arguments) {
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
  dist::set_threads(comm, config.compute.threads);
  comm.set_timeout(config.compute.collective_timeout);
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

int run(dist::Communicator& comm, const dist::Arguments& arguments, trainer::StopSignal& stop) {
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

}  // namespace

int main(int argc, char** argv) {
  trainer::StopSignal stop;  // before any thread is started
  const dist::Program program = {"spq-train", SPQ_VERSION,
                                 "Learns rotations that make a LLaMA model quantize well. Under mpirun the "
                                 "ranks share weights and work.",
                                 "docs/configuration.md"};
  return dist::run_program(
      program, argc, argv,
      [&](dist::Communicator& comm, const dist::Arguments& arguments) { return run(comm, arguments, stop); });
}
