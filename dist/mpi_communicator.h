// Ranks as MPI processes, tensors in host memory.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>

#include "dist/communicator.h"

namespace spq::dist {

/// True when the environment says that mpirun or srun started this process.
bool launched_by_mpi();

/// This process's rank as the launcher's environment gives it, before MPI is started; 0 when nothing did.
int launched_rank();

/// MPI from here to the end of the scope. When the scope is left by an exception there is no clean end,
/// because other ranks may be waiting for this one: the destructor calls MPI_Abort. Report the exception
/// inside the scope, before that. If MPI is running already (a test's main started it), it is used and left
/// running.
class MpiSession {
 public:
  /// Throws Error when the MPI library cannot be called from a second thread (less than
  /// MPI_THREAD_SERIALIZED).
  MpiSession();
  ~MpiSession();
  MpiSession(const MpiSession&) = delete;
  MpiSession& operator=(const MpiSession&) = delete;

 private:
  bool owns_mpi_ = false;
  int exceptions_before_;
};

struct MpiOptions {
  double timeout = 0;                            // of every collective: Communicator::set_timeout
  int64_t max_message_bytes = int64_t{1} << 30;  // longer messages are sent in pieces
  int ranks_per_node = 0;  // 0: as the machines are; else the nodes are groups of so many
                           // consecutive ranks (tests of several nodes on one machine)
  int64_t max_shared_bytes = std::numeric_limits<int64_t>::max();  // per node, besides what there is
};

/// Collective over MPI_COMM_WORLD, on duplicates of it; the session must outlive the communicator. Options
/// are the same on every rank. All its MPI calls are made by one thread of its own, in the order of the calls
/// here, so that gathers go on while the caller computes. With MPI_THREAD_SERIALIZED only, make one
/// communicator at a time and no MPI calls beside it.
std::unique_ptr<Communicator> make_mpi_communicator(MpiSession& session, const MpiOptions& options = {});

}  // namespace spq::dist
