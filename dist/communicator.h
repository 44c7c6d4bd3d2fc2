// What ranks say to one another. Knows tensors, no model.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "dist/shard.h"
#include "dist/shard_store.h"
#include "dist/work.h"

namespace spq::dist {

/// A group of ranks. Every rank calls the same collectives in the same order with matching shapes and dtypes;
/// calls of one communicator are made from one thread. Tensors are contiguous and live in host memory or, for
/// a communicator of a device (dist/device_communicator.h), on that device: all tensors of a call in the same
/// place, on every rank. A call on device tensors waits in the calling thread's current stream, not on the
/// host: its result is there for what is queued on that stream afterwards.
/// Collectives move bytes of any dtype. A failure is spq::Error; the communicator is dead after it.
class Communicator {
 public:
  virtual ~Communicator() = default;

  virtual int rank() const = 0;
  virtual int world_size() const = 0;
  /// "single", "threads", "mpi", "nccl" or "staged".
  virtual std::string_view backend() const = 0;

  virtual void barrier() = 0;

  /// Starts gathering `shard` [rows.count(rank), ...] of every rank, in rank order, into `whole`
  /// [rows.num_rows(), ...]. Goes on while the caller computes. Several gathers may be in flight; they
  /// complete in the order of the calls.
  virtual std::unique_ptr<Work> all_gather_rows(const at::Tensor& shard, const at::Tensor& whole,
                                                const RowPartition& rows) = 0;

  /// send[r] goes to rank r; receive[r] is filled from rank r's send[rank()]. Shapes may differ from rank to
  /// rank and may be empty; receive[r] has the shape and dtype of what rank r sends.
  virtual void all_to_all(std::span<const at::Tensor> send, std::span<at::Tensor> receive) = 0;

  /// `tensor` of every rank becomes root's.
  virtual void broadcast(at::Tensor& tensor, int root) = 0;

  /// Takes over this rank's rows of all units and places them for gathering. Collective. Where the ranks
  /// share memory every matrix is whole there, once for all of them, and gathering is a view; each rank's own
  /// copy goes matrix by matrix as it is moved, so the caller should keep none. MPI over several nodes: rows
  /// stay with their ranks, and the ranks of a node share two buffers, into which each of them fetches its
  /// part. Where sharing is not possible (rank 0 says once on stderr why) gathering is all_gather_rows.
  /// A communicator of a device takes rows from host memory and gathers onto the device.
  virtual std::unique_ptr<ShardStore> make_shards(std::vector<ShardUnit> units) = 0;

  /// A collective that takes longer than this from here on, transfers and waiting for other ranks included,
  /// is a failure that names the ranks that did not take part; 0: wait for ever. Same value on every rank.
  /// Not in backends whose ranks share one process: they end together.
  virtual void set_timeout(double seconds) = 0;

  /// Ends the job on every rank because of a failure on this one: other ranks' pending and later calls do not
  /// hang. MPI: ends the processes (does not return). Threads: the others' calls throw Error naming `reason`.
  /// May be called from any thread.
  virtual void abort(std::string_view reason) noexcept = 0;

  /// The first reason given to abort() on any rank, where this process can have outlived it; else empty. May
  /// be called from any thread.
  virtual std::string end_reason() const { return {}; }
};

}  // namespace spq::dist
