// What the parts of the MPI backend share.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "dist/communicator.h"
#include "dist/mpi_channel.h"
#include "dist/mpi_communicator.h"
#include "dist/mpi_watch.h"
#include "dist/nodes.h"
#include "dist/worker_thread.h"

namespace spq::dist {

/// One thread makes all MPI calls, in the order of collective() calls.
struct MpiContext {
  /// Collective over MPI_COMM_WORLD.
  explicit MpiContext(const MpiOptions& options);
  ~MpiContext();

  MpiWatch watch;
  MpiChannel world;
  MpiChannel node;
  Nodes nodes;
  int64_t max_shared_bytes;
  WorkerThread worker;  // last: its destructor runs the queue, which uses the rest

  /// Queues a collective of all ranks; `kind` is what a message about a timeout calls it.
  std::unique_ptr<Work> collective(const char* kind, std::function<void()> job) {
    return worker.run([this, kind, job = std::move(job)] {
      watch.begin(kind);
      job();
      watch.end();
    });
  }
};

/// Communicator::make_shards over MPI. `comm` is the communicator of `context`; both must outlive the store.
std::unique_ptr<ShardStore> make_mpi_shards(Communicator& comm, MpiContext& context,
                                            std::vector<ShardUnit> units);

}  // namespace spq::dist
