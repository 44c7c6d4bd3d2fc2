// Messages and meetings of MPI processes, none of which blocks inside MPI.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "dist/mpi_watch.h"

namespace spq::dist {

/// Bytes from or for one rank.
struct Message {
  int rank;
  at::Tensor tensor;  // contiguous, in host memory
};

/// An MPI communicator of its own. Every wait is the watch's, within a collective that the caller has begun
/// there. The MPI handle is kept as its Fortran integer.
class MpiChannel {
 public:
  /// All ranks. Collective over MPI_COMM_WORLD. Messages longer than `max_message_bytes` go in pieces.
  MpiChannel(MpiWatch& watch, int64_t max_message_bytes);

  /// The ranks that share this rank's memory or, for ranks_per_node > 0, its group of so many consecutive
  /// ranks of those. Collective over `world`.
  static MpiChannel node_of(const MpiChannel& world, int ranks_per_node);

  int rank() const { return rank_; }
  int size() const { return size_; }
  int handle() const { return comm_; }

  /// Returns when every rank has come here.
  void meet();

  /// Sends and receives everything; the messages of one pair of ranks in order. kEager: after a meet(), for
  /// data that moves only while somebody asks. kPolite: for little data, without a meet().
  void exchange(const std::vector<Message>& receive, const std::vector<Message>& send, Pace pace);

  /// After a meet().
  void broadcast(const at::Tensor& tensor, int root);

  /// Ends the use of MPI. Collective.
  void free();

 private:
  MpiChannel(MpiWatch& watch, int64_t max_message_bytes, int comm);

  MpiWatch* watch_;
  int64_t max_message_bytes_;
  int comm_;
  int rank_ = 0;
  int size_ = 0;
};

}  // namespace spq::dist
