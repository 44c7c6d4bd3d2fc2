#include "dist/program.h"

#include <ATen/Parallel.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <thread>
#include <utility>

#include "core/error.h"
#include "core/memory.h"
#include "dist/collectives.h"
#include "dist/mpi_communicator.h"
#include "dist/same_everywhere.h"
#include "dist/single_communicator.h"

namespace spq::dist {
namespace {

constexpr int kExitError = 1;
constexpr int kExitUsage = 2;
constexpr double kStartTimeout = 600;  // seconds for a collective before body has set its own

using Body = std::function<int(Communicator&, const Arguments&)>;

std::vector<Fact> own_facts(const Program& program) {
  std::vector<Fact> facts = program.facts();
  for (Fact& fact : library_facts()) facts.push_back(std::move(fact));
  return facts;
}

int run_reporting_errors(const Program& program, Communicator& comm, const Arguments& arguments,
                         const Body& body) {
  try {
    check_same_everywhere(comm, [&] { return own_facts(program); });
    return body(comm, arguments);
  } catch (const AgreedError& error) {
    if (comm.rank() == 0) std::fprintf(stderr, "%s: error: %s\n", program.name.c_str(), error.what());
    return kExitError;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s: error on rank %d: %s\n", program.name.c_str(), comm.rank(), error.what());
    comm.abort(error.what());
    return kExitError;
  }
}

// Tasks of a Slurm step that MPI will not connect (srun --mpi=none): each would take itself for the only
// rank. 1 where there is no such step.
int unconnected_tasks() {
  const char* tasks = std::getenv("SLURM_STEP_NUM_TASKS");
  return tasks && !launched_by_mpi() ? std::atoi(tasks) : 1;
}

void report_unconnected_tasks(const Program& program, int tasks) {
  const char* task = std::getenv("SLURM_PROCID");
  if (task && std::atoi(task) != 0) return;  // one task speaks
  std::fprintf(stderr,
               "%s: error: srun started %d tasks without MPI: use srun --mpi=pmix or mpirun, for one process "
               "srun -n 1\n",
               program.name.c_str(), tasks);
}

}  // namespace

int run_program(const Program& program, int argc, char** argv, const Body& body) {
  keep_freed_memory();
  std::signal(SIGXFSZ, SIG_IGN);  // a write beyond the file size limit is an error like a full disk
  Arguments arguments;
  CLI::App app(program.description, program.name);
  app.add_option("config", arguments.config, "YAML configuration (" + program.documentation + ")")
      ->required();
  app.add_option("--set", arguments.overrides, "Override one key: --set key=value")->allow_extra_args(false);
  app.add_flag("--check", arguments.check_only,
               "Check the configuration and everything it names; do nothing else");
  app.set_version_flag("--version", program.name + " " + program.version);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {  // help and version too; one rank speaks
    const int status = launched_rank() != 0 ? error.get_exit_code() : app.exit(error);
    return status == 0 ? 0 : kExitUsage;
  }
  try {
    if (const int tasks = unconnected_tasks(); tasks > 1) {
      report_unconnected_tasks(program, tasks);
      return kExitError;
    }
    if (!launched_by_mpi()) {
      SingleCommunicator comm;
      return run_reporting_errors(program, comm, arguments, body);
    }
    MpiSession session;
    const std::unique_ptr<Communicator> comm = make_mpi_communicator(session, {.timeout = kStartTimeout});
    return run_reporting_errors(program, *comm, arguments, body);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s: error: %s\n", program.name.c_str(), error.what());
    return kExitError;
  }
}

void set_threads(Communicator& comm, int64_t configured) {
  const int processors = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  const int share = std::max(1, processors / local_world_size(comm));
  at::set_num_threads(configured > 0 ? static_cast<int>(configured) : share);
}

}  // namespace spq::dist
