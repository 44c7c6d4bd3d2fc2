#include "dist/worker_thread.h"

#include <chrono>
#include <exception>
#include <utility>

#include "core/error.h"

namespace spq::dist {

namespace {

class QueuedWork final : public Work {
 public:
  explicit QueuedWork(std::shared_future<void> result) : result_(std::move(result)) {}
  void wait() override { result_.get(); }

 private:
  std::shared_future<void> result_;
};

}  // namespace

WorkerThread::WorkerThread(std::function<void()> when_idle)
    : when_idle_(std::move(when_idle)), thread_([this] { loop(); }) {}

WorkerThread::~WorkerThread() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

std::unique_ptr<Work> WorkerThread::run(std::function<void()> job) {
  Item item{std::move(job), {}};
  auto work = std::make_unique<QueuedWork>(item.result.get_future().share());
  {
    std::lock_guard lock(mutex_);
    queue_.push_back(std::move(item));
  }
  changed_.notify_one();
  return work;
}

void WorkerThread::loop() {
  std::unique_lock lock(mutex_);
  for (;;) {
    idle(lock);
    if (queue_.empty()) return;
    Item item = std::move(queue_.front());
    queue_.pop_front();
    lock.unlock();
    run_item(item);
    lock.lock();
  }
}

/// Returns when there is something to do or the end has come.
void WorkerThread::idle(std::unique_lock<std::mutex>& lock) {
  constexpr std::chrono::milliseconds kIdleEvery{200};
  const auto is_over = [this] { return stopping_ || !queue_.empty(); };
  while (when_idle_ && failure_.empty()) {
    if (changed_.wait_for(lock, kIdleEvery, is_over)) return;
    lock.unlock();
    try {
      when_idle_();
    } catch (const std::exception& caught) {
      failure_ = caught.what();
    }
    lock.lock();
  }
  changed_.wait(lock, is_over);
}

void WorkerThread::run_item(Item& item) {
  std::exception_ptr error;
  try {
    check(failure_.empty(), "not done because an earlier collective failed: {}", failure_);
    item.job();
  } catch (const std::exception& caught) {
    if (failure_.empty()) failure_ = caught.what();
    error = std::current_exception();
  }
  // Before the waiting caller goes on: it counts on the job's tensors being released.
  item.job = nullptr;
  if (error) {
    item.result.set_exception(std::move(error));
  } else {
    item.result.set_value();
  }
}

}  // namespace spq::dist
