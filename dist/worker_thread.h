// One thread that runs jobs in the order they were given.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "dist/communicator.h"

namespace spq::dist {

/// A queue and the thread that empties it. The first failure is final: later jobs are not run.
class WorkerThread {
 public:
  WorkerThread() : WorkerThread(nullptr) {}
  /// Also calls `when_idle` a few times a second while nothing is queued, until something has failed; what it
  /// throws is a failure like a job's.
  explicit WorkerThread(std::function<void()> when_idle);
  ~WorkerThread();  // runs what is queued, then joins

  /// Queues `job`. The Work's wait() returns when it has run and been destroyed (with what it captured), and
  /// rethrows what it threw; after an earlier job has failed it throws Error naming that failure.
  std::unique_ptr<Work> run(std::function<void()> job);

 private:
  struct Item {
    std::function<void()> job;
    std::promise<void> result;
  };
  void loop();
  void run_item(Item& item);
  void idle(std::unique_lock<std::mutex>& lock);

  std::function<void()> when_idle_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Item> queue_;
  bool stopping_ = false;
  std::string failure_;  // the worker's alone
  std::thread thread_;   // last: it uses the rest
};

}  // namespace spq::dist
