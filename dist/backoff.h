// How a thread waits for something that it has to ask for again and again.
#pragma once

#include <chrono>

namespace spq::dist {

enum class Pace {
  kPolite,  // for other ranks to come: soon asleep, so that computing threads have the processor
  kEager,   // for data on its way, which moves only while somebody asks: never asleep, but yielding
};

/// Spins at first, because most waits are short; then yields; then (kPolite) sleeps for a growing time, a
/// small part of the time waited so far and at most a millisecond.
class Backoff {
 public:
  using Clock = std::chrono::steady_clock;

  explicit Backoff(Pace pace) : pace_(pace), start_(Clock::now()) {}
  void pause();
  Clock::duration waited() const { return Clock::now() - start_; }

 private:
  Pace pace_;
  Clock::time_point start_;
  unsigned num_pauses_ = 0;
};

}  // namespace spq::dist
