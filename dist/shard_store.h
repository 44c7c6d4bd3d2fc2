// Frozen matrices split by rows over the ranks, placed so that gathering them costs as little as possible.
#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstddef>
#include <memory>
#include <optional>
#include <vector>

#include "dist/shard.h"
#include "dist/work.h"

namespace spq::dist {

/// One matrix of a unit: this rank's rows [partition.count(rank), ...], contiguous, in host memory.
struct Shard {
  at::Tensor rows;
  RowPartition partition;
};

/// Matrices that are gathered together: a layer, the head.
using ShardUnit = std::vector<Shard>;

struct GatheredUnit {
  std::vector<at::Tensor>
      matrices;  // [partition.num_rows(), ...] each, in the unit's order; only for reading
  std::vector<std::unique_ptr<Work>> works;  // they are complete when these are; empty: they are already
};

/// Made by Communicator::make_shards, which see. Every rank gathers and drops the same units in the same
/// order among its collectives, and destroys the store at the same place in that order, before the
/// communicator; no tensor of a gathered unit may be used after its drop.
class ShardStore {
 public:
  virtual ~ShardStore() = default;

  /// Starts gathering `unit`. Two units may be held at a time, an even one and an odd one (a walk over
  /// neighbours never needs others); more is our own bug (assertion).
  GatheredUnit gather(size_t unit);

  /// Nothing of `unit`, which is held and complete, is needed any more by the caller (on a device: by what it
  /// has queued on its stream so far).
  void drop(size_t unit);

  /// True when every matrix lies whole in this rank's reach: gathering moves nothing and takes no memory.
  virtual bool is_resident() const = 0;

 private:
  virtual GatheredUnit start(size_t unit) = 0;
  virtual void finish(size_t /*unit*/) {}  // at its drop

  std::array<std::optional<size_t>, 2> held_;  // by unit mod 2
};

/// All matrices are whole; a gathered unit is a view.
class ResidentShards final : public ShardStore {
 public:
  /// `memory` is what the matrices lie in, when they do not own it; released with the store.
  explicit ResidentShards(std::vector<std::vector<at::Tensor>> units, std::shared_ptr<void> memory = nullptr)
      : memory_(std::move(memory)), units_(std::move(units)) {}
  bool is_resident() const override { return true; }

 private:
  GatheredUnit start(size_t unit) override { return {units_.at(unit), {}}; }

  std::shared_ptr<void> memory_;
  std::vector<std::vector<at::Tensor>> units_;
};

class Communicator;

/// Every rank keeps its rows and gathers with all_gather_rows into memory of its own, which is kept for the
/// next unit of the same parity.
class PrivateShards final : public ShardStore {
 public:
  /// `comm` must outlive the store.
  PrivateShards(Communicator& comm, std::vector<ShardUnit> units);
  bool is_resident() const override { return false; }

 private:
  GatheredUnit start(size_t unit) override;

  Communicator& comm_;
  std::vector<ShardUnit> units_;
  std::array<at::Tensor, 2> buffers_;  // bytes, by unit mod 2; made at first use
};

}  // namespace spq::dist
