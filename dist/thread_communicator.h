// N ranks as threads of one process: for tests.
#pragma once

#include <functional>
#include <memory>

#include "core/error.h"
#include "dist/communicator.h"

namespace spq::dist {

/// Thrown by the calls of a rank whose group has been ended: the text names the first reason given.
class AbortedError : public Error {
 public:
  using Error::Error;
};

/// The ranks' meeting place. A collective is carried out by the rank that starts it last; ranks that call
/// different collectives, or with sizes that do not match, get an Error and not a hang.
class ThreadGroup {
 public:
  explicit ThreadGroup(int world_size);
  /// The communicator of `rank`, to be used by that rank's thread. It may outlive the group.
  std::unique_ptr<Communicator> communicator(int rank);

  class Meeting;

 private:
  std::shared_ptr<Meeting> meeting_;
};

/// Runs `body` as `world_size` ranks, one thread each, and joins them. When one body throws, the others are
/// ended by abort(); the first exception that is not their AbortedError is rethrown.
void run_ranks(int world_size, const std::function<void(Communicator&)>& body);

}  // namespace spq::dist
