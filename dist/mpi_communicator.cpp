#include "dist/mpi_communicator.h"

#include <mpi.h>

#include <cstdlib>
#include <limits>
#include <utility>
#include <vector>

#include "core/error.h"
#include "dist/arguments.h"
#include "dist/mpi_context.h"
#include "dist/shard_layout.h"

namespace spq::dist {

namespace {

constexpr size_t kLittle = 16 * 1024;  // bytes of all ranks: too few to lose time when asleep between them

class MpiCommunicator final : public Communicator {
 public:
  explicit MpiCommunicator(const MpiOptions& options) : context_(options), world_(context_.world) {}

  int rank() const override { return world_.rank(); }
  int world_size() const override { return world_.size(); }
  std::string_view backend() const override { return "mpi"; }

  void barrier() override {
    context_.collective("barrier", [this] { world_.meet(); })->wait();
  }

  std::unique_ptr<Work> all_gather_rows(const at::Tensor& shard, const at::Tensor& whole,
                                        const RowPartition& rows) override {
    assert_gather_arguments(*this, shard, whole, rows);
    return context_.collective("all-gather", [this, shard, whole, rows] { gather(shard, whole, rows); });
  }

  void all_to_all(std::span<const at::Tensor> send, std::span<at::Tensor> receive) override {
    assert_exchange_arguments(*this, send, receive);
    context_.collective("all-to-all", [&] { exchange(send, receive); })->wait();
  }

  void broadcast(at::Tensor& tensor, int root) override {
    assert_broadcast_arguments(*this, tensor, root);
    context_
        .collective("broadcast",
                    [&] {
                      world_.meet();
                      world_.broadcast(tensor, root);
                    })
        ->wait();
  }

  std::unique_ptr<ShardStore> make_shards(std::vector<ShardUnit> units) override {
    assert_shard_arguments(*this, units);
    return make_mpi_shards(*this, context_, std::move(units));
  }

  void set_timeout(double seconds) override {
    context_.worker.run([this, seconds] { context_.watch.set_timeout(seconds); })->wait();
  }

  void abort(std::string_view) noexcept override {
    MPI_Abort(MPI_COMM_WORLD, 1);
    std::_Exit(1);
  }

 private:
  /// Calls f with every other rank, each rank starting with its neighbour, so that not all of them talk to
  /// the same one at once.
  template <class F>
  void for_others(F f) const {
    for (int step = 1; step < world_size(); ++step) f((rank() + step) % world_size());
  }

  void gather(const at::Tensor& shard, const at::Tensor& whole, const RowPartition& rows) {
    std::vector<Message> receive;
    std::vector<Message> send;
    for_others([&](int r) {
      receive.push_back({r, own_rows(whole, rows, r)});
      send.push_back({r, shard});
    });
    const bool is_little = whole.nbytes() <= kLittle;
    if (!is_little) world_.meet();
    copy_bytes(shard, own_rows(whole, rows, rank()));
    world_.exchange(receive, send, is_little ? Pace::kPolite : Pace::kEager);
  }

  void exchange(std::span<const at::Tensor> to, std::span<at::Tensor> from) {
    std::vector<Message> receive;
    std::vector<Message> send;
    for_others([&](int r) {
      receive.push_back({r, from[static_cast<size_t>(r)]});
      send.push_back({r, to[static_cast<size_t>(r)]});
    });
    const auto self = static_cast<size_t>(rank());
    world_.meet();
    copy_bytes(to[self], from[self]);
    world_.exchange(receive, send, Pace::kEager);
  }

  MpiContext context_;
  MpiChannel& world_;
};

}  // namespace

std::unique_ptr<Communicator> make_mpi_communicator(MpiSession&, const MpiOptions& options) {
  SPQ_ASSERT(options.max_message_bytes >= 1 && options.max_message_bytes <= std::numeric_limits<int>::max());
  return std::make_unique<MpiCommunicator>(options);
}

}  // namespace spq::dist
