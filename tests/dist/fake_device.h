// A device that is host memory and threads: streams are queues that run beside the test, late where asked to.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "dist/device_runtime.h"
#include "tests/dist/nccl_standin.h"

namespace spq::dist::testing {

class FakeLog {
 public:
  void add(std::string line);
  std::vector<std::string> lines();

 private:
  std::mutex mutex_;
  std::vector<std::string> lines_;
};

/// A queue with a thread. One that lags runs a job only when somebody waits for it: what should have waited,
/// but does not, comes first.
class FakeStream final : public StandinStream {
 public:
  /// One without a thread is the calling thread itself: a job runs when it is queued.
  FakeStream(std::string name, bool has_thread, bool lags, bool ignores_waits, FakeLog& log);
  ~FakeStream() override;

  void enqueue(std::string name, std::function<void()> job) override;
  const std::string& name() const { return name_; }
  bool ignores_waits() const { return ignores_waits_; }

  int64_t num_queued();
  bool has_run(int64_t num_jobs);
  void wait_for(int64_t num_jobs);

 private:
  void loop();

  const std::string name_;
  const bool has_thread_;
  const bool lags_;
  const bool ignores_waits_;
  FakeLog& log_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> queue_;
  int64_t num_queued_ = 0;
  int64_t num_run_ = 0;
  int64_t awaited_ = 0;
  bool stopping_ = false;
  std::thread thread_;  // last: it uses the rest
};

enum class Streams { kNone, kCompute, kTransfers };

struct FakeDeviceOptions {
  /// Without: what the test does itself is the compute stream, and waiting there blocks the test.
  bool has_compute_stream = false;
  Streams lagging = Streams::kNone;
  /// Waits of these streams do nothing: an error for tests to find.
  Streams not_waiting = Streams::kNone;
  std::function<bool(const at::Tensor&)> owns = [](const at::Tensor&) { return true; };
  std::string identity = "";  // empty: its own
};

class FakeDevice final : public DeviceRuntime {
 public:
  explicit FakeDevice(FakeDeviceOptions options = {});
  ~FakeDevice() override;  // runs what is queued

  /// Queues work on the compute stream.
  void compute(const std::string& name, std::function<void()> job);
  /// Waits for all streams.
  void synchronize();
  /// "gathers: wait for compute", in the order of queueing.
  std::vector<std::string> log() { return log_.lines(); }

  c10::Device device() const override { return c10::Device(c10::kCPU); }
  bool owns(const at::Tensor& tensor) const override { return options_.owns(tensor); }
  std::string identity() const override;
  void bind_thread() override {}
  at::Tensor empty_on_device(at::IntArrayRef sizes, at::ScalarType dtype) override;
  at::Tensor empty_on_host(at::IntArrayRef sizes, at::ScalarType dtype) override;
  DeviceStream compute_stream() override { return static_cast<StandinStream*>(streams_.front().get()); }
  DeviceStream other_stream(const std::string& name) override;
  std::shared_ptr<DeviceEvent> record(DeviceStream stream) override;
  void copy(const at::Tensor& from, const at::Tensor& to, DeviceStream stream) override;
  void keep(const at::Tensor& tensor, DeviceStream stream) override;

 private:
  const FakeDeviceOptions options_;
  FakeLog log_;
  std::vector<std::unique_ptr<FakeStream>> streams_;  // the first is the compute stream
};

}  // namespace spq::dist::testing
