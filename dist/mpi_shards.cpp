// Where frozen rows lie when the ranks are MPI processes.
#include <algorithm>
#include <cstdio>
#include <exception>
#include <utility>

#include "core/error.h"
#include "dist/arguments.h"
#include "dist/collectives.h"
#include "dist/mpi_context.h"
#include "dist/mpi_window.h"
#include "dist/shard_layout.h"

namespace spq::dist {

namespace {

/// Memory shared by this node's ranks until the last copy goes, which is to happen at the same place among
/// the collectives on every rank.
class SharedBlock {
 public:
  SharedBlock(MpiContext& context, int64_t num_bytes) : context_(context) {
    context_
        .collective("start of shared memory",
                    [&] {
                      context_.world.meet();
                      window_ = std::make_shared<MpiWindow>(context_.node, num_bytes);
                    })
        ->wait();
  }
  ~SharedBlock() {
    // After an exception on this rank the others may never come to this point.
    if (std::uncaught_exceptions() > exceptions_before_) return;
    context_.collective("end of shared memory", [node = &context_.node, window = window_] {
      node->meet();
      window->free();
    });
  }
  SharedBlock(const SharedBlock&) = delete;
  SharedBlock& operator=(const SharedBlock&) = delete;

  std::byte* data() const { return window_->data(); }
  const std::shared_ptr<MpiWindow>& window() const { return window_; }

 private:
  MpiContext& context_;
  int exceptions_before_ = std::uncaught_exceptions();
  std::shared_ptr<MpiWindow> window_;
};

/// Several nodes: rows stay private, the gathered unit is the node's.
class NodeShards final : public ShardStore {
 public:
  NodeShards(MpiContext& context, std::vector<ShardUnit> units)
      : context_(context),
        units_(std::move(units)),
        second_slot_(slot_bytes(units_)[0]),
        block_(context, second_slot_ + slot_bytes(units_)[1]) {}
  bool is_resident() const override { return false; }

  /// Takes the pages of both slots; each rank the part that it will write first.
  void reserve() const {
    for (const ShardUnit& unit : units_) {
      const std::vector<at::Tensor> wholes = views(static_cast<size_t>(&unit - units_.data()));
      for (size_t i = 0; i < unit.size(); ++i) {
        for (const int rank : peers()) MpiWindow::reserve(own_rows(wholes[i], unit[i].partition, rank));
      }
    }
  }

 private:
  std::vector<at::Tensor> views(size_t unit) const {
    return whole_views(block_.data() + (unit % 2 == 0 ? 0 : second_slot_), units_.at(unit));
  }

  /// One rank of each node, the one with my place there; mine is me.
  std::vector<int> peers() const {
    const Nodes& nodes = context_.nodes;
    const auto place = static_cast<size_t>(nodes.place_of(context_.world.rank()));
    std::vector<int> peers;
    for (int node = 0; node < nodes.count(); ++node) peers.push_back(nodes.ranks(node).at(place));
    return peers;
  }

  GatheredUnit start(size_t unit) override {
    GatheredUnit gathered;
    gathered.matrices = views(unit);
    gathered.works.push_back(context_.collective(
        "all-gather", [this, unit, wholes = gathered.matrices] { fetch(units_[unit], wholes); }));
    return gathered;
  }

  void fetch(const ShardUnit& shards, const std::vector<at::Tensor>& wholes) {
    const int me = context_.world.rank();
    context_.world.meet();  // nobody reads any more what was in this slot
    std::vector<Message> receive;
    std::vector<Message> send;
    for (size_t i = 0; i < shards.size(); ++i) {
      for (const int peer : peers()) {
        if (peer == me) continue;
        receive.push_back({peer, own_rows(wholes[i], shards[i].partition, peer)});
        send.push_back({peer, shards[i].rows});
      }
      copy_bytes(shards[i].rows, own_rows(wholes[i], shards[i].partition, me));
    }
    context_.world.exchange(receive, send, Pace::kEager);
    block_.window()->sync();
    context_.node.meet();
    block_.window()->sync();
  }

  MpiContext& context_;
  std::vector<ShardUnit> units_;
  int64_t second_slot_;
  SharedBlock block_;
};

/// Why the ranks of a node cannot share `num_bytes`; empty when all can. Same text on every rank.
std::string sharing_problem(Communicator& comm, const MpiContext& context, int64_t num_bytes) {
  if (!context.nodes.are_equal()) {
    return fmt::format("nodes have different numbers of ranks ({})", context.nodes.describe());
  }
  const bool speaks = context.node.rank() == 0;
  const std::vector<std::string> problems =
      gather_texts(comm, speaks ? MpiWindow::problem(num_bytes, context.max_shared_bytes) : "");
  for (size_t r = 0; r < problems.size(); ++r) {
    if (!problems[r].empty()) return fmt::format("rank {}: {}", r, problems[r]);
  }
  return "";
}

std::unique_ptr<ShardStore> place_on_one_node(Communicator& comm, MpiContext& context,
                                              std::vector<ShardUnit> units, int64_t num_bytes) {
  const auto block = std::make_shared<SharedBlock>(context, num_bytes);
  std::vector<std::vector<at::Tensor>> wholes;
  collectively(comm, [&] { wholes = move_into(block->data(), units, comm.rank(), MpiWindow::reserve); });
  context
      .collective("end of loading",
                  [&] {
                    block->window()->sync();
                    context.world.meet();
                    block->window()->sync();
                  })
      ->wait();
  return std::make_unique<ResidentShards>(std::move(wholes), block);
}

}  // namespace

std::unique_ptr<ShardStore> make_mpi_shards(Communicator& comm, MpiContext& context,
                                            std::vector<ShardUnit> units) {
  if (comm.world_size() == 1) return std::make_unique<ResidentShards>(rows_of(units));
  const bool one_node = context.nodes.count() == 1;
  const bool nothing_to_share = context.nodes.count() == comm.world_size();
  if (nothing_to_share) return std::make_unique<PrivateShards>(comm, std::move(units));
  int64_t num_bytes = slot_bytes(units)[0] + slot_bytes(units)[1];
  if (one_node) {
    num_bytes = 0;
    for (const ShardUnit& unit : units) num_bytes += whole_bytes(unit);
  }
  const std::string problem = sharing_problem(comm, context, num_bytes);
  if (!problem.empty()) {
    if (comm.rank() == 0) {
      std::fprintf(stderr,
                   "note: weights are gathered without shared memory, slower and with more memory: %s\n",
                   problem.c_str());
    }
    return std::make_unique<PrivateShards>(comm, std::move(units));
  }
  if (one_node) return place_on_one_node(comm, context, std::move(units), num_bytes);
  auto store = std::make_unique<NodeShards>(context, std::move(units));
  collectively(comm, [&] { store->reserve(); });
  return store;
}

}  // namespace spq::dist
