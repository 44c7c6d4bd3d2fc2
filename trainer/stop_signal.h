// SIGINT, SIGTERM and SIGUSR1 as a question that the training loop asks between steps.
#pragma once

namespace spq::trainer {

/// From construction on the three signals no longer end the process: they wait until poll() takes them. Make
/// it before any thread is started (threads inherit the blocking). No global state.
class StopSignal {
 public:
  StopSignal();
  /// The number of a signal that has arrived since the last call, or 0.
  int poll();
};

/// Exit status of a run that a signal stopped after saving: run the same command again to go on
/// (EX_TEMPFAIL).
inline constexpr int kExitStopped = 75;

}  // namespace spq::trainer
