#include "dist/nccl_watch.h"

#include <algorithm>
#include <cstdio>
#include <exception>
#include <utility>

#include "core/error.h"
#include "dist/backoff.h"
#include "dist/thread_communicator.h"

namespace spq::dist {

namespace {

constexpr std::chrono::milliseconds kLookEvery{10};
constexpr int kMostStaggered = 20;

}  // namespace

NcclWatch::NcclWatch(Communicator& host, DeviceRuntime& runtime, NcclOptions options)
    : host_(host),
      runtime_(runtime),
      options_(std::move(options)),
      timeout_(options_.timeout),
      thread_([this] { loop(); }) {}

NcclWatch::~NcclWatch() {
  stop();
}

void NcclWatch::stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void NcclWatch::set_timeout(double seconds) {
  std::lock_guard lock(mutex_);
  timeout_ = seconds;
}

double NcclWatch::timeout() {
  std::lock_guard lock(mutex_);
  return timeout_;
}

void NcclWatch::add(std::shared_ptr<NcclComm> comm) {
  std::lock_guard lock(mutex_);
  comms_.push_back(std::move(comm));
}

void NcclWatch::begin(std::string what, std::shared_ptr<DeviceEvent> start,
                      std::shared_ptr<DeviceEvent> end) {
  std::lock_guard lock(mutex_);
  flights_.push_back({std::move(what), std::move(start), std::move(end), std::nullopt});
}

void NcclWatch::check() {
  std::unique_lock lock(mutex_);
  if (state_ != State::kRunning) throw_failure(lock);
}

void NcclWatch::settle(NcclComm& comm, const std::string& what) {
  const Clock::time_point began = Clock::now();
  std::optional<Clock::time_point> error_since;
  Backoff backoff(Pace::kPolite);
  for (;;) {
    check();
    const NcclResult state = comm.state();
    if (state == NcclResult::kSuccess) {
      check();  // a communicator that was aborted meanwhile says so too
      return;
    }
    if (!is_fine(state) && is_over(state, error_since)) {
      fail_here(fmt::format("{} failed on rank {}: {}", what, host_.rank(), comm.describe(state)));
    }
    if (is_late(began)) {
      fail_here(fmt::format("{} did not get under way within {} seconds on rank {}", what, timeout(),
                            host_.rank()));
    }
    backoff.pause();
  }
}

void NcclWatch::fail_here(const std::string& text) {
  if (claim()) {
    abort_comms();
    publish(text, true);
  }
  std::unique_lock lock(mutex_);
  throw_failure(lock);
}

void NcclWatch::end(std::string_view reason) noexcept {
  if (!claim()) return;
  abort_comms();
  publish(std::string(reason), true);
}

bool NcclWatch::has_ended() {
  std::lock_guard lock(mutex_);
  return state_ != State::kRunning;
}

void NcclWatch::loop() {
  std::unique_lock lock(mutex_);
  bool is_bound = false;
  while (!stopping_ && state_ == State::kRunning) {
    lock.unlock();
    try {
      if (!is_bound) runtime_.bind_thread();
      is_bound = true;
      look();
    } catch (const std::exception& error) {
      end_job(fmt::format("{} on rank {}", error.what(), host_.rank()));
    }
    lock.lock();
    changed_.wait_for(lock, kLookEvery, [this] { return stopping_ || state_ != State::kRunning; });
  }
}

void NcclWatch::look() {
  const std::string reason = host_.end_reason();
  if (!reason.empty()) {
    if (!claim()) return;
    abort_comms();
    publish(fmt::format("aborted because another rank failed: {}", reason), false);
    return;
  }
  if (const std::string error = error_of_comms(); !error.empty()) return end_job(error);
  if (const std::string late = late_flight(); !late.empty()) end_job(late);
}

/// What NCCL says has gone wrong, in words; empty when nothing has.
std::string NcclWatch::error_of_comms() {
  std::vector<std::shared_ptr<NcclComm>> comms;
  {
    std::lock_guard lock(mutex_);
    comms = comms_;
  }
  for (const std::shared_ptr<NcclComm>& comm : comms) {
    const NcclResult state = comm->state();
    if (is_fine(state) || !is_over(state, remote_error_since_)) continue;
    return fmt::format("NCCL met an error on rank {} in {}: {}", host_.rank(), current_flight(),
                       comm->describe(state));
  }
  return "";
}

/// True for an error to be spoken of now: of this rank, or of another which had the time to speak itself.
bool NcclWatch::is_over(NcclResult error, std::optional<Clock::time_point>& since) const {
  if (error != NcclResult::kRemoteError) return true;
  if (!since) since = Clock::now();
  return Clock::now() - *since >= Seconds(options_.grace);
}

/// Also forgets what is through.
std::string NcclWatch::late_flight() {
  std::unique_lock lock(mutex_);
  for (auto flight = flights_.begin(); flight != flights_.end();) {
    if (flight->end->is_done()) {
      flight = flights_.erase(flight);
      continue;
    }
    if (!flight->started && flight->start->is_done()) flight->started = Clock::now();
    ++flight;
  }
  for (const Flight& flight : flights_) {
    if (!flight.started) continue;
    const std::string text =
        fmt::format("{} did not end within {} seconds on rank {}", flight.what, timeout_, host_.rank());
    const Clock::time_point started = *flight.started;
    lock.unlock();
    if (is_late(started)) return text;
    lock.lock();
    break;  // the others began later
  }
  return "";
}

bool NcclWatch::is_late(Clock::time_point since) {
  const double limit = timeout();
  if (limit <= 0) return false;
  const double defer = options_.stagger * std::min(host_.rank(), kMostStaggered);
  return Clock::now() - since >= Seconds(limit + defer);
}

std::string NcclWatch::current_flight() {
  std::lock_guard lock(mutex_);
  for (const Flight& flight : flights_) {
    if (!flight.end->is_done()) return flight.what;
  }
  return "no collective";
}

/// True for the one thread that is to end the job.
bool NcclWatch::claim() {
  std::lock_guard lock(mutex_);
  if (state_ != State::kRunning) return false;
  state_ = State::kEnding;
  return true;
}

void NcclWatch::abort_comms() noexcept {
  std::vector<std::shared_ptr<NcclComm>> comms;
  {
    std::lock_guard lock(mutex_);
    comms = comms_;
  }
  for (const std::shared_ptr<NcclComm>& comm : comms) comm->abort();
}

void NcclWatch::publish(std::string text, bool is_cause) {
  {
    std::lock_guard lock(mutex_);
    failure_ = std::move(text);
    is_cause_ = is_cause;
    state_ = State::kEnded;
    flights_.clear();
  }
  changed_.notify_all();
}

/// The caller's thread learns of it last: where the host communicator ends the process it never does, and the
/// failure is told once.
void NcclWatch::end_job(const std::string& text) {
  if (!claim()) return;
  if (options_.report) {
    options_.report(text);
  } else {
    std::fprintf(stderr, "error: %s\n", text.c_str());
  }
  abort_comms();
  host_.abort(text);
  publish(text, true);
}

void NcclWatch::throw_failure(std::unique_lock<std::mutex>& lock) {
  changed_.wait(lock, [this] { return state_ == State::kEnded; });
  if (is_cause_) throw Error(failure_);
  throw AbortedError(failure_);
}

}  // namespace spq::dist
