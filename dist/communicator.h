// What ranks say to one another. Knows tensors, no model.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "dist/shard.h"

namespace spq::dist {

/// A collective in flight. wait() returns when this rank's result is complete; it may be called once or more.
/// The tensors of the call must stay alive and unchanged (inputs) or untouched (outputs) until then.
class Work {
 public:
  virtual ~Work() = default;
  virtual void wait() = 0;
};

/// A group of ranks. Every rank calls the same collectives in the same order with matching shapes and dtypes;
/// calls of one communicator are made from one thread. Tensors are contiguous and live in host memory.
/// Collectives move bytes of any dtype. A failure is spq::Error; the communicator is dead after it.
class Communicator {
 public:
  virtual ~Communicator() = default;

  virtual int rank() const = 0;
  virtual int world_size() const = 0;
  /// "single", "threads" or "mpi".
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

  /// Ends the job on every rank because of a failure on this one: other ranks' pending and later calls do not
  /// hang. MPI: ends the processes (does not return). Threads: the others' calls throw Error naming `reason`.
  virtual void abort(std::string_view reason) noexcept = 0;
};

}  // namespace spq::dist
