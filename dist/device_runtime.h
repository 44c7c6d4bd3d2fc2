// What communication needs of a device: its queues of work, events in them, memory and copies.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <memory>
#include <string>

namespace spq::dist {

/// A queue of device work, run in order; on a GPU a cudaStream_t.
using DeviceStream = void*;

/// A place in a stream. Errors are spq::Error that name the failed call.
class DeviceEvent {
 public:
  virtual ~DeviceEvent() = default;
  /// What is queued on `stream` from here on runs after the event; the caller is not blocked.
  virtual void hold(DeviceStream stream) = 0;
  /// True when everything queued before the event has run. From any thread.
  virtual bool is_done() = 0;
  /// Blocks the caller until is_done().
  virtual void wait() = 0;
};

/// One device as one rank uses it. Tests put a device of their own in its place. Errors are spq::Error.
class DeviceRuntime {
 public:
  virtual ~DeviceRuntime() = default;

  virtual c10::Device device() const = 0;
  virtual bool owns(const at::Tensor& tensor) const = 0;
  /// The same text on two ranks exactly when they use the same device.
  virtual std::string identity() const = 0;
  /// To be called by every thread but the one that made the runtime before it uses the device.
  virtual void bind_thread() = 0;

  virtual at::Tensor empty_on_device(at::IntArrayRef sizes, at::ScalarType dtype) = 0;
  /// Host memory that copies to and from the device are quick with.
  virtual at::Tensor empty_on_host(at::IntArrayRef sizes, at::ScalarType dtype) = 0;

  /// The stream that operators of the calling thread are queued on.
  virtual DeviceStream compute_stream() = 0;
  /// A stream beside it, to be used as long as the runtime lives; `name` is for a test's log.
  virtual DeviceStream other_stream(const std::string& name) = 0;
  virtual std::shared_ptr<DeviceEvent> record(DeviceStream stream) = 0;

  /// Queues a copy of the bytes of `from` over those of `to`, which are as many; both contiguous, each in
  /// host memory or on the device, both alive until it is done.
  virtual void copy(const at::Tensor& from, const at::Tensor& to, DeviceStream stream) = 0;
  /// The tensor's memory is not given to others before everything now queued on `stream` is done, even when
  /// the tensor dies before.
  virtual void keep(const at::Tensor& tensor, DeviceStream stream) = 0;
};

}  // namespace spq::dist
