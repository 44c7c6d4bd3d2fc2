// Return codes of MPI calls, for the .cpp files that include mpi.h.
#pragma once

namespace spq::dist {

/// Throws Error with the call's name and MPI's own text unless `code` is MPI_SUCCESS.
void check_mpi(int code, const char* call);

}  // namespace spq::dist
