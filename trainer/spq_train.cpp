// spq-train: learn rotations.
#include <ATen/Parallel.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <iostream>
#include <optional>

#include "core/error.h"
#include "data/facts.h"
#include "dist/collectives.h"
#include "dist/mpi_communicator.h"
#include "dist/program.h"
#include "dist/same_everywhere.h"
#include "model/sharded_device.h"
#include "trainer/config_check.h"
#include "trainer/config_keys.h"
#include "trainer/config_yaml.h"
#include "trainer/job.h"
#include "trainer/stop_signal.h"
#include "trainer/train_loop.h"

namespace {

using namespace spq;

trainer::Config read_config(dist::Communicator& comm, const dist::Arguments& arguments) {
  trainer::Config config;
  dist::collectively(comm, [&] {
    config = trainer::load_config(arguments.config, arguments.overrides);
    trainer::validate(config);
  });
  dist::check_same_everywhere(
      comm, [&] { return data::config_facts(trainer::bind_keys(config), arguments.config, config.model); });
  return config;
}

trainer::Job open_job(dist::Communicator& comm, const trainer::Config& config,
                      const model::RunDevice& device) {
  std::optional<trainer::Job> job;
  const bool is_fast = device.is_gpu() || trainer::has_fast_bf16();
  const std::vector<std::string> fast = dist::gather_texts(comm, is_fast ? "yes" : "no");
  const bool fast_bf16 = std::count(fast.begin(), fast.end(), "yes") == comm.world_size();
  const int local_world_size = dist::local_world_size(comm);
  const int64_t gpu_memory = device.available_memory();
  dist::collectively(comm, [&] {
    job = trainer::open_job(config, comm.world_size(), local_world_size, fast_bf16, gpu_memory);
    job->device = device.device();
  });
  dist::check_same_everywhere(comm, [&] { return trainer::input_facts(*job); });
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
  const trainer::Config config = read_config(comm, arguments);
  model::RunDevice device(comm, config.compute.device);
  if (out) *out << fmt::format("device: {}\n", device.describe());
  const trainer::Job job = open_job(comm, config, device);
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
  dist::Communicator& connected = device.connect(config.compute.collective_timeout);
  const auto outcome = trainer::run_job(connected, job, stop, out, output_terminal());
  return outcome == trainer::Outcome::kStopped ? trainer::kExitStopped : 0;
}

}  // namespace

int main(int argc, char** argv) {
  trainer::StopSignal stop;  // before any thread is started
  const dist::Program program = {"spq-train", SPQ_VERSION,
                                 "Learns rotations that make a LLaMA model quantize well. Under mpirun the "
                                 "ranks share weights and work.",
                                 "docs/configuration.md", [] { return data::program_facts(SPQ_VERSION); }};
  return dist::run_program(
      program, argc, argv,
      [&](dist::Communicator& comm, const dist::Arguments& arguments) { return run(comm, arguments, stop); });
}
