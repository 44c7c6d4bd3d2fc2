// Notices that a collective does not end, and finds out because of which rank.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dist/backoff.h"

namespace spq::dist {

/// Counts a communicator's collectives and waits in them. A rank that has waited too long asks all others
/// where they are, over messages of its own; every live rank answers, from within its waiting or when idle.
/// MPI handles are kept as their Fortran integers (MPI_Comm_c2f), so that no header needs mpi.h.
class MpiWatch {
 public:
  /// Collective over MPI_COMM_WORLD. `timeout` in seconds; 0: wait for ever.
  explicit MpiWatch(double timeout);

  void set_timeout(double seconds) { timeout_ = seconds; }

  /// The next collective begins; `kind` is what messages call it.
  void begin(std::string_view kind);
  void end() { running_ = false; }

  /// Returns when `is_done` (which drives MPI) says so. When the collective has taken longer than the
  /// timeout: Error that names every rank that has not come to it. One rank throws, the lowest of those that
  /// wait; the others leave it some time to end the job.
  void wait(const std::function<bool()>& is_done, Pace pace);

  /// Answers what other ranks have asked. For idle times; wait() does it too.
  void answer();

  /// Ends the use of MPI. Collective.
  void free();

 private:
  using Clock = Backoff::Clock;
  struct Report;

  void ask();
  bool listen(const std::function<bool()>& is_done, double least, double most);
  bool everybody_answered() const;
  std::string describe_missing() const;

  double timeout_;
  int comm_ = 0;
  int rank_ = 0;
  std::vector<std::string> hosts_;
  std::string kind_;
  int64_t started_ = 0;  // collectives, the present one included
  bool running_ = false;
  Clock::time_point began_;
  int64_t question_ = 0;                          // number of my latest question
  std::vector<std::optional<int64_t>> answers_;   // to it: collectives that the rank has started
  std::vector<std::vector<int64_t>> in_transit_;  // my questions, kept because nobody may ever receive them
  bool lower_rank_asks_ = false;
};

}  // namespace spq::dist
