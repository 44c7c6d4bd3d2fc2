// spq-ptq: merge rotations, quantize weights, save, evaluate.
#include <iostream>

#include "data/facts.h"
#include "dist/collectives.h"
#include "dist/program.h"
#include "dist/same_everywhere.h"
#include "ptq/pipeline.h"

int main(int argc, char** argv) {
  using namespace spq;
  const dist::Program program = {"spq-ptq", SPQ_VERSION,
                                 "Merges rotations into a LLaMA model and quantizes its weights (RTN, GPTQ, "
                                 "GPTAQ). Under mpirun the ranks share samples and "
                                 "rows.",
                                 "docs/configuration-ptq.md",
                                 [] { return data::program_facts(SPQ_VERSION); }};
  return dist::run_program(
      program, argc, argv, [](dist::Communicator& comm, const dist::Arguments& arguments) {
        std::ostream* out = comm.rank() == 0 ? &std::cout : nullptr;
        ptq::PtqConfig config;
        dist::collectively(comm,
                           [&] { config = ptq::load_ptq_config(arguments.config, arguments.overrides); });
        dist::check_same_everywhere(
            comm, [&] { return data::config_facts(ptq::bind_keys(config), arguments.config, config.model); });
        dist::set_threads(comm, config.compute.threads);
        comm.set_timeout(config.compute.collective_timeout);
        if (arguments.check_only) {
          ptq::check_ptq(comm, config);
          if (out) *out << "configuration, model and tokens are fine\n";
        } else {
          ptq::run_ptq(comm, config, out);
        }
        return 0;
      });
}
