// The name of the machine under this process.
#pragma once

#include <string>

namespace spq {

/// As gethostname() gives it; Error where it gives none.
std::string host_name();

}  // namespace spq
