#include "tests/dist/fake_device.h"

#include <ATen/ops/empty.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "core/error.h"

namespace spq::dist::testing {

namespace {

class FakeEvent final : public DeviceEvent {
 public:
  explicit FakeEvent(FakeStream& stream) : stream_(stream), place_(stream.num_queued()) {}

  void hold(DeviceStream stream) override {
    auto* waiting = static_cast<StandinStream*>(stream);
    auto* queue = dynamic_cast<FakeStream*>(waiting);
    if (queue->ignores_waits()) return;
    queue->enqueue(fmt::format("wait for {}", stream_.name()),
                   [&from = stream_, place = place_] { from.wait_for(place); });
  }
  bool is_done() override { return stream_.has_run(place_); }
  void wait() override { stream_.wait_for(place_); }

 private:
  FakeStream& stream_;
  int64_t place_;
};

}  // namespace

void FakeLog::add(std::string line) {
  std::lock_guard lock(mutex_);
  lines_.push_back(std::move(line));
}

std::vector<std::string> FakeLog::lines() {
  std::lock_guard lock(mutex_);
  return lines_;
}

FakeStream::FakeStream(std::string name, bool has_thread, bool lags, bool ignores_waits, FakeLog& log)
    : name_(std::move(name)), has_thread_(has_thread), lags_(lags), ignores_waits_(ignores_waits), log_(log) {
  if (has_thread_) thread_ = std::thread([this] { loop(); });
}

FakeStream::~FakeStream() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  if (has_thread_) thread_.join();
}

void FakeStream::enqueue(std::string name, std::function<void()> job) {
  log_.add(fmt::format("{}: {}", name_, name));
  if (!has_thread_) return job();
  {
    std::lock_guard lock(mutex_);
    queue_.push_back(std::move(job));
    ++num_queued_;
  }
  changed_.notify_all();
}

int64_t FakeStream::num_queued() {
  std::lock_guard lock(mutex_);
  return num_queued_;
}

bool FakeStream::has_run(int64_t num_jobs) {
  std::lock_guard lock(mutex_);
  return num_run_ >= num_jobs;
}

void FakeStream::wait_for(int64_t num_jobs) {
  std::unique_lock lock(mutex_);
  awaited_ = std::max(awaited_, num_jobs);
  changed_.notify_all();
  changed_.wait(lock, [&] { return num_run_ >= num_jobs; });
}

void FakeStream::loop() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
    if (queue_.empty()) return;
    if (lags_) changed_.wait(lock, [this] { return stopping_ || awaited_ > num_run_; });
    std::function<void()> job = std::move(queue_.front());
    queue_.pop_front();
    lock.unlock();
    job();
    job = nullptr;
    lock.lock();
    ++num_run_;
    changed_.notify_all();
  }
}

FakeDevice::FakeDevice(FakeDeviceOptions options) : options_(std::move(options)) {
  streams_.push_back(std::make_unique<FakeStream>("compute", options_.has_compute_stream,
                                                  options_.lagging == Streams::kCompute,
                                                  options_.not_waiting == Streams::kCompute, log_));
}

FakeDevice::~FakeDevice() {
  synchronize();
}

void FakeDevice::compute(const std::string& name, std::function<void()> job) {
  streams_.front()->enqueue(name, std::move(job));
}

void FakeDevice::synchronize() {
  for (const auto& stream : streams_) stream->wait_for(stream->num_queued());
}

std::string FakeDevice::identity() const {
  return options_.identity.empty() ? fmt::format("{}", static_cast<const void*>(this)) : options_.identity;
}

at::Tensor FakeDevice::empty_on_device(at::IntArrayRef sizes, at::ScalarType dtype) {
  return at::empty(sizes, at::TensorOptions(dtype));
}

at::Tensor FakeDevice::empty_on_host(at::IntArrayRef sizes, at::ScalarType dtype) {
  return at::empty(sizes, at::TensorOptions(dtype));
}

DeviceStream FakeDevice::other_stream(const std::string& name) {
  streams_.push_back(std::make_unique<FakeStream>(name, true, options_.lagging == Streams::kTransfers,
                                                  options_.not_waiting == Streams::kTransfers, log_));
  return static_cast<StandinStream*>(streams_.back().get());
}

std::shared_ptr<DeviceEvent> FakeDevice::record(DeviceStream stream) {
  return std::make_shared<FakeEvent>(*dynamic_cast<FakeStream*>(static_cast<StandinStream*>(stream)));
}

void FakeDevice::copy(const at::Tensor& from, const at::Tensor& to, DeviceStream stream) {
  SPQ_ASSERT(from.nbytes() == to.nbytes());
  // Not the tensors: like a real copy, it does not keep them alive.
  static_cast<StandinStream*>(stream)->enqueue(
      fmt::format("copy {}", from.nbytes()),
      [source = from.const_data_ptr(), target = to.mutable_data_ptr(), num_bytes = from.nbytes()] {
        if (num_bytes > 0) std::memcpy(target, source, num_bytes);
      });
}

void FakeDevice::keep(const at::Tensor& tensor, DeviceStream stream) {
  static_cast<StandinStream*>(stream)->enqueue("keep", [tensor] {});
}

}  // namespace spq::dist::testing
