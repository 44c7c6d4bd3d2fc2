// Refuses a job whose hosts differ: another program, library, configuration or model on one of them.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/fact.h"
#include "dist/communicator.h"

namespace spq::dist {

/// What one rank states, and where it runs.
struct Statement {
  std::string host;
  std::vector<Fact> facts;
};

/// One line about statements[rank]: the first fact that is not the same on all ranks, its values and who has
/// which, and the names of others. Nothing when all state the same. A rank may lack facts that others have.
std::optional<std::string> first_difference(std::span<const Statement> statements);

/// Calls `facts` on every rank (no collectives in it) and compares. Collective; AgreedError with
/// first_difference's line, or when `facts` throws anywhere. A single rank is not asked.
void check_same_everywhere(Communicator& comm, const std::function<std::vector<Fact>()>& facts);

/// The versions of LibTorch and of the MPI library.
std::vector<Fact> library_facts();

}  // namespace spq::dist
