// Notices that NCCL has met an error or that a collective on the device does not end, and ends the job.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "dist/communicator.h"
#include "dist/device_runtime.h"
#include "dist/nccl_comm.h"
#include "dist/nccl_options.h"

namespace spq::dist {

/// A thread that looks at the communicators' states, at the collectives in flight and at whether another rank
/// has ended the job. The first failure is final: it is reported once, the communicators are aborted (so that
/// the device's streams get on), the host communicator's abort() is called with it, and from then on check()
/// throws it. Where another rank's failure ended the job, check() throws AbortedError.
class NcclWatch {
 public:
  /// `host` and `runtime` must outlive it.
  NcclWatch(Communicator& host, DeviceRuntime& runtime, NcclOptions options);
  ~NcclWatch();
  NcclWatch(const NcclWatch&) = delete;
  NcclWatch& operator=(const NcclWatch&) = delete;

  /// Ends the thread; what was in flight is no longer looked at.
  void stop();

  void set_timeout(double seconds);
  double timeout();

  /// Looks after `comm` as well, from when it is initialised.
  void add(std::shared_ptr<NcclComm> comm);

  /// A collective that begins when `start` is done and is through when `end` is. `what` names it.
  void begin(std::string what, std::shared_ptr<DeviceEvent> start, std::shared_ptr<DeviceEvent> end);

  /// Throws the failure if there is one.
  void check();

  /// Returns when NCCL is through with the latest call on `comm`, which `what` names. Throws like fail_here
  /// after the timeout or when NCCL has met an error.
  void settle(NcclComm& comm, const std::string& what);

  /// A failure found by the caller, who is to report it: aborts the communicators and throws Error. After an
  /// earlier failure throws that one.
  [[noreturn]] void fail_here(const std::string& text);

  /// The job is ended by the caller, who has reported why.
  void end(std::string_view reason) noexcept;

  bool has_ended();

 private:
  using Clock = std::chrono::steady_clock;
  using Seconds = std::chrono::duration<double>;
  enum class State { kRunning, kEnding, kEnded };
  struct Flight {
    std::string what;
    std::shared_ptr<DeviceEvent> start;
    std::shared_ptr<DeviceEvent> end;
    std::optional<Clock::time_point> started;
  };

  void loop();
  void look();
  std::string error_of_comms();
  std::string late_flight();
  bool is_over(NcclResult error, std::optional<Clock::time_point>& since) const;
  bool is_late(Clock::time_point since);
  std::string current_flight();
  bool claim();
  void abort_comms() noexcept;
  void publish(std::string text, bool is_cause);
  void end_job(const std::string& text);
  [[noreturn]] void throw_failure(std::unique_lock<std::mutex>& lock);

  Communicator& host_;
  DeviceRuntime& runtime_;
  const NcclOptions options_;
  std::mutex mutex_;
  std::condition_variable changed_;
  double timeout_;
  std::vector<std::shared_ptr<NcclComm>> comms_;
  std::deque<Flight> flights_;
  State state_ = State::kRunning;
  std::string failure_;
  bool is_cause_ = false;
  bool stopping_ = false;
  std::optional<Clock::time_point> remote_error_since_;  // the watching thread's alone
  std::thread thread_;                                   // last: it uses the rest
};

}  // namespace spq::dist
