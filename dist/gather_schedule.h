// When a sharded unit (a layer, the head) is gathered: one ahead of its use, two in memory at most.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "dist/communicator.h"

namespace spq::dist {

/// Walks units in an announced order. While unit n of the order is in use, the gather of the next different
/// unit is in flight; a unit is dropped when the one after it is acquired, unless the order returns to it
/// right after that one. At most two units are ever held. So with the order 0 1 2 2 1 0 (forward and
/// backward) the second 2 and the second 1 need no second gather: the buffers are those of the first use,
/// with whatever was done to them since.
class GatherSchedule {
 public:
  /// Starts the gather of `unit` into fresh buffers and returns what to wait for.
  using Start = std::function<std::vector<std::unique_ptr<Work>>(int64_t unit)>;
  /// The buffers of `unit` are no longer needed.
  using Drop = std::function<void(int64_t unit)>;

  GatherSchedule(Start start, Drop drop);
  ~GatherSchedule();  // waits for gathers in flight, drops what is held

  /// Announces the units of the coming walk in order of use; the walk before is over. A unit held or in
  /// flight from then is kept when it comes first (and the one in flight when it comes right after),
  /// everything else is dropped. The first gather that the walk needs starts here. A unit named several times
  /// in a row counts once.
  void begin(std::vector<int64_t> order);

  /// Waits until `unit`, which must be the next of the order (or the one acquired last), is complete; drops
  /// the previous one; starts the next one's gather. Any other unit is our own bug (assertion). Throws what
  /// Work::wait throws: the unit is then not acquired, and still held until release_all().
  void acquire(int64_t unit);

  /// Drops everything held (waiting for what is in flight) and forgets the order. Throws the first failure of
  /// a gather in flight, after dropping.
  void release_all();

 private:
  struct Held {
    int64_t unit;
    std::vector<std::unique_ptr<Work>> works;
  };
  static void wait(Held& held);
  void drop(std::optional<Held>& held);
  void start_ahead(size_t place);

  Start start_;
  Drop drop_;
  std::vector<int64_t> order_;
  size_t next_ = 0;
  std::optional<Held> current_;
  std::optional<Held> ahead_;
};

}  // namespace spq::dist
