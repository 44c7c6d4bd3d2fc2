#include <mpi.h>

#include <cstdlib>
#include <exception>
#include <string>

#include "core/error.h"
#include "dist/mpi_check.h"
#include "dist/mpi_communicator.h"

namespace spq::dist {

void check_mpi(int code, const char* call) {
  if (code == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING] = "";
  int length = 0;
  MPI_Error_string(code, text, &length);
  fail("{} failed: {}", call, std::string(text, static_cast<size_t>(length)));
}

bool launched_by_mpi() {
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK"}) {
    if (std::getenv(name)) return true;
  }
  return false;
}

int launched_rank() {
  for (const char* name : {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK"}) {
    if (const char* rank = std::getenv(name)) return std::atoi(rank);
  }
  return 0;
}

MpiSession::MpiSession() : exceptions_before_(std::uncaught_exceptions()) {
  int running = 0;
  check_mpi(MPI_Initialized(&running), "MPI_Initialized");
  int provided = 0;
  if (running) {
    check_mpi(MPI_Query_thread(&provided), "MPI_Query_thread");
  } else {
    check_mpi(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_MULTIPLE, &provided), "MPI_Init_thread");
    owns_mpi_ = true;
    // Errors of calls without a communicator (datatypes) are reported through this one.
    check_mpi(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
  }
  if (provided < MPI_THREAD_SERIALIZED) {
    if (owns_mpi_) MPI_Finalize();
    fail("MPI library: thread support level {} found, at least MPI_THREAD_SERIALIZED needed", provided);
  }
}

MpiSession::~MpiSession() {
  if (!owns_mpi_) return;
  if (std::uncaught_exceptions() > exceptions_before_) {
    MPI_Abort(MPI_COMM_WORLD, 1);
  } else {
    MPI_Finalize();
  }
}

}  // namespace spq::dist
