// What every Communicator promises, as checks that all ranks of a communicator run together.
#pragma once

#include <iosfwd>
#include <span>

#include "dist/communicator.h"

namespace spq::dist::testing {

struct ContractCase {
  const char* name;
  void (*body)(Communicator& comm);
};

/// All of them, in a fixed order; a failure is a GoogleTest failure on the rank that sees it.
std::span<const ContractCase> contract_cases();

/// How GoogleTest prints a case (not as bytes).
void PrintTo(const ContractCase& contract_case, std::ostream* stream);

}  // namespace spq::dist::testing
