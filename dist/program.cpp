#include "dist/program.h"

#include <ATen/Parallel.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <memory>
#include <thread>

#include "core/error.h"
#include "dist/collectives.h"
#include "dist/mpi_communicator.h"
#include "dist/single_communicator.h"

namespace spq::dist {
namespace {

constexpr int kExitError = 1;
constexpr int kExitUsage = 2;

using Body = std::function<int(Communicator&, const Arguments&)>;

int run_reporting_errors(const Program& program, Communicator& comm, const Arguments& arguments,
                         const Body& body) {
  try {
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

}  // namespace

int run_program(const Program& program, int argc, char** argv, const Body& body) {
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
    if (!launched_by_mpi()) {
      SingleCommunicator comm;
      return run_reporting_errors(program, comm, arguments, body);
    }
    MpiSession session;
    const std::unique_ptr<Communicator> comm = make_mpi_communicator(session);
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
