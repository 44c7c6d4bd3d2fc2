// A library with NCCL's functions that plays them on host memory, between ranks that are threads.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "dist/nccl_api.h"

namespace spq::dist::testing {

/// What the stand-in takes for a cudaStream_t.
class StandinStream {
 public:
  virtual ~StandinStream() = default;
  /// Runs `job` after everything queued before.
  virtual void enqueue(std::string name, std::function<void()> job) = 0;
};

/// What tests ask of the library and look up in it. `rank` counts in the world of its communicators; a rank's
/// groups are counted from 1 over all its communicators. A group of calls is issued to its stream only when
/// the communicator has been asked for its state, as with the real library's communicators that do not block.
class NcclStandin {
 public:
  virtual ~NcclStandin() = default;
  /// Forgets everything. No communicator may be left.
  virtual void reset() = 0;

  /// "[all_gather 24; broadcast 8 from 1]": the rank's groups in order.
  virtual std::vector<std::string> groups(int rank) = 0;
  /// Misuse: ranks whose calls do not match, calls on a communicator that is gone, work in flight at its end.
  virtual std::vector<std::string> problems() = 0;
  /// Communicators neither destroyed nor aborted, those aborted, those destroyed.
  virtual int num_open() = 0;
  virtual int num_aborted() = 0;
  virtual int num_destroyed() = 0;

  virtual void fail_init(int rank, NcclResult result) = 0;
  virtual void hang_init(int rank) = 0;
  virtual void fail_group(int rank, int number, NcclResult result) = 0;
  /// Never ends, until its communicator is aborted.
  virtual void hang_group(int rank, int number) = 0;
  /// Every communicator of the rank reports `result` from now on.
  virtual void set_async_error(int rank, NcclResult result) = 0;
  /// The other ranks are processes of their own, each with its own stand-in: communicators are complete at
  /// once, and no collective ever ends.
  virtual void be_alone() = 0;
};

}  // namespace spq::dist::testing

extern "C" spq::dist::testing::NcclStandin* spq_nccl_standin();
