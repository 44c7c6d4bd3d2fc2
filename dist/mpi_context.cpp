#include "dist/mpi_context.h"

#include <mpi.h>

#include "dist/mpi_check.h"

namespace spq::dist {

namespace {

/// The node of every rank, by the lowest rank there.
Nodes find_nodes(const MpiChannel& world, const MpiChannel& node) {
  int lowest = world.rank();
  check_mpi(MPI_Bcast(&lowest, 1, MPI_INT, 0, MPI_Comm_f2c(node.handle())), "MPI_Bcast");
  std::vector<int> names(static_cast<size_t>(world.size()));
  check_mpi(MPI_Allgather(&lowest, 1, MPI_INT, names.data(), 1, MPI_INT, MPI_Comm_f2c(world.handle())),
            "MPI_Allgather");
  return Nodes(names);
}

}  // namespace

MpiContext::MpiContext(const MpiOptions& options)
    : watch(options.timeout),
      world(watch, options.max_message_bytes),
      node(MpiChannel::node_of(world, options.ranks_per_node)),
      nodes(find_nodes(world, node)),
      max_shared_bytes(options.max_shared_bytes),
      worker([this] { watch.answer(); }) {}

MpiContext::~MpiContext() {
  // As a job: freed after all else that is queued, and not at all when something has failed.
  worker.run([this] {
    node.free();
    world.free();
    watch.free();
  });
}

}  // namespace spq::dist
