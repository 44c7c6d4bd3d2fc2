// A collective in flight.
#pragma once

namespace spq::dist {

/// wait() returns when this rank's result is complete (on a device: for what is queued on the current stream
/// from then on); it may be called once or more, from any one thread at a time. The tensors of the call must
/// stay alive and unchanged (inputs) or untouched (outputs) until then.
class Work {
 public:
  virtual ~Work() = default;
  virtual void wait() = 0;
};

}  // namespace spq::dist
