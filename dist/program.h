// What the programs' mains share: command line, communicator, one message for an error on every way out.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "core/fact.h"
#include "dist/communicator.h"

namespace spq::dist {

struct Arguments {
  std::string config;                  // YAML file
  std::vector<std::string> overrides;  // --set key=value
  bool check_only = false;             // --check
};

/// Names a program in its help and its messages.
struct Program {
  std::string name;
  std::string version;
  std::string description;
  std::string documentation;                 // page of its keys
  std::function<std::vector<Fact>()> facts;  // of the program itself, to be the same on all ranks
};

/// Parses the command line, starts MPI when a launcher started this process, calls body and returns its exit
/// status: 1 after an error, 2 for a wrong command line (rank 0 speaks). Ranks that run another program or
/// other libraries (program.facts, library_facts()) are an AgreedError before that. An AgreedError is told by
/// rank 0 alone; for any other, the rank it happened on speaks and ends the others.
int run_program(const Program& program, int argc, char** argv,
                const std::function<int(Communicator&, const Arguments&)>& body);

/// LibTorch's threads of this rank: `configured`, or for 0 this rank's share of the host's processors.
/// Collective.
void set_threads(Communicator& comm, int64_t configured);

}  // namespace spq::dist
