#include "dist/thread_communicator.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <map>
#include <mutex>
#include <new>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "dist/arguments.h"
#include "dist/shard_layout.h"

namespace spq::dist {

namespace {

/// A rank's part in a collective: to[r] goes to rank r, from[r] is filled by rank r; an undefined tensor is
/// no message.
struct Part {
  std::string call;
  std::vector<at::Tensor> to;
  std::vector<at::Tensor> from;
};

struct Exchange {
  std::vector<Part> parts;
  int num_arrived = 0;
  bool done = false;
};

void check_same_call(const std::vector<Part>& parts) {
  for (size_t r = 1; r < parts.size(); ++r) {
    check(parts[r].call == parts[0].call, "ranks call different collectives: rank 0 {}, rank {} {}",
          parts[0].call, r, parts[r].call);
  }
}

void carry_out(const std::vector<Part>& parts) {
  check_same_call(parts);
  for (size_t source = 0; source < parts.size(); ++source) {
    for (size_t target = 0; target < parts.size(); ++target) {
      const at::Tensor& sent = parts[source].to[target];
      const at::Tensor& received = parts[target].from[source];
      const size_t sent_bytes = sent.defined() ? sent.nbytes() : 0;
      const size_t received_bytes = received.defined() ? received.nbytes() : 0;
      check(sent_bytes == received_bytes, "{}: rank {} sends {} bytes to rank {}, which expects {}",
            parts[0].call, source, sent_bytes, target, received_bytes);
      if (sent_bytes > 0) copy_bytes(sent, received);
    }
  }
}

std::shared_ptr<std::byte> allocate_pages(int64_t num_bytes) {
  constexpr std::align_val_t kPage{4096};
  auto* memory = static_cast<std::byte*>(::operator new(static_cast<size_t>(num_bytes), kPage));
  return {memory, [](std::byte* pages) { ::operator delete(pages, kPage); }};
}

}  // namespace

class ThreadGroup::Meeting {
 public:
  explicit Meeting(int world_size) : world_size_(world_size) {}

  int world_size() const { return world_size_; }

  /// Adds `part` to the rank's `number`-th collective; the last rank to come carries it out for all.
  std::shared_ptr<Exchange> start(int rank, uint64_t number, Part part) {
    std::lock_guard lock(mutex_);
    throw_if_aborted();
    std::shared_ptr<Exchange>& entry = exchanges_[number];
    if (!entry) {
      entry = std::make_shared<Exchange>();
      entry->parts.resize(static_cast<size_t>(world_size_));
    }
    const std::shared_ptr<Exchange> exchange = entry;
    exchange->parts[static_cast<size_t>(rank)] = std::move(part);
    if (++exchange->num_arrived < world_size_) return exchange;
    exchanges_.erase(number);
    try {
      carry_out(exchange->parts);
    } catch (const Error& error) {
      end(error.what());
      throw;
    }
    exchange->parts.clear();
    exchange->done = true;
    changed_.notify_all();
    return exchange;
  }

  void wait(const Exchange& exchange) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return exchange.done || reason_; });
    if (!exchange.done) throw_if_aborted();
  }

  void abort(std::string_view reason) {
    std::lock_guard lock(mutex_);
    end(reason);
  }

  std::string end_reason() {
    std::lock_guard lock(mutex_);
    return reason_.value_or("");
  }

  /// Memory for all ranks that ask with the same `number`, which the first of them gets.
  std::shared_ptr<std::byte> common_memory(uint64_t number, int64_t num_bytes) {
    std::lock_guard lock(mutex_);
    throw_if_aborted();
    Common& common = commons_[number];
    if (!common.memory) common.memory = allocate_pages(num_bytes);
    std::shared_ptr<std::byte> memory = common.memory;
    if (++common.num_asked == world_size_) commons_.erase(number);
    return memory;
  }

 private:
  void end(std::string_view reason) {
    if (!reason_) reason_ = std::string(reason);
    changed_.notify_all();
  }

  void throw_if_aborted() const {
    if (reason_) throw AbortedError(fmt::format("aborted because another rank failed: {}", *reason_));
  }

  struct Common {
    std::shared_ptr<std::byte> memory;
    int num_asked = 0;
  };

  const int world_size_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<uint64_t, Common> commons_;                       // those that not every rank has asked for
  std::map<uint64_t, std::shared_ptr<Exchange>> exchanges_;  // those that not every rank has started
  std::optional<std::string> reason_;
};

namespace {

class ThreadWork final : public Work {
 public:
  ThreadWork(std::shared_ptr<ThreadGroup::Meeting> meeting, std::shared_ptr<Exchange> exchange)
      : meeting_(std::move(meeting)), exchange_(std::move(exchange)) {}
  void wait() override { meeting_->wait(*exchange_); }

 private:
  std::shared_ptr<ThreadGroup::Meeting> meeting_;
  std::shared_ptr<Exchange> exchange_;
};

class ThreadCommunicator final : public Communicator {
 public:
  ThreadCommunicator(std::shared_ptr<ThreadGroup::Meeting> meeting, int rank)
      : meeting_(std::move(meeting)), rank_(rank) {}

  int rank() const override { return rank_; }
  int world_size() const override { return meeting_->world_size(); }
  std::string_view backend() const override { return "threads"; }

  void barrier() override { start(new_part("barrier"))->wait(); }

  std::unique_ptr<Work> all_gather_rows(const at::Tensor& shard, const at::Tensor& whole,
                                        const RowPartition& rows) override {
    assert_gather_arguments(*this, shard, whole, rows);
    Part part = new_part("all_gather_rows");
    for (int r = 0; r < world_size(); ++r) {
      part.to[static_cast<size_t>(r)] = shard;
      part.from[static_cast<size_t>(r)] = whole.narrow(0, rows.begin(r), rows.count(r));
    }
    return start(std::move(part));
  }

  void all_to_all(std::span<const at::Tensor> send, std::span<at::Tensor> receive) override {
    assert_exchange_arguments(*this, send, receive);
    Part part = new_part("all_to_all");
    part.to.assign(send.begin(), send.end());
    part.from.assign(receive.begin(), receive.end());
    start(std::move(part))->wait();
  }

  void broadcast(at::Tensor& tensor, int root) override {
    assert_broadcast_arguments(*this, tensor, root);
    Part part = new_part(fmt::format("broadcast from {}", root));
    if (rank_ == root) {
      part.to.assign(part.to.size(), tensor);
      part.to[static_cast<size_t>(root)] = at::Tensor();
    } else {
      part.from[static_cast<size_t>(root)] = tensor;
    }
    start(std::move(part))->wait();
  }

  std::unique_ptr<ShardStore> make_shards(std::vector<ShardUnit> units) override {
    assert_shard_arguments(*this, units);
    int64_t num_bytes = 0;
    for (const ShardUnit& unit : units) num_bytes += whole_bytes(unit);
    const std::shared_ptr<std::byte> memory = meeting_->common_memory(num_stores_++, num_bytes);
    std::vector<std::vector<at::Tensor>> wholes = move_into(memory.get(), units, rank_);
    barrier();
    return std::make_unique<ResidentShards>(std::move(wholes), memory);
  }

  void set_timeout(double) override {}
  void abort(std::string_view reason) noexcept override { meeting_->abort(reason); }
  std::string end_reason() const override { return meeting_->end_reason(); }

 private:
  Part new_part(std::string call) const {
    const auto world = static_cast<size_t>(world_size());
    return {std::move(call), std::vector<at::Tensor>(world), std::vector<at::Tensor>(world)};
  }

  std::unique_ptr<Work> start(Part part) {
    return std::make_unique<ThreadWork>(meeting_, meeting_->start(rank_, num_calls_++, std::move(part)));
  }

  std::shared_ptr<ThreadGroup::Meeting> meeting_;
  int rank_;
  uint64_t num_calls_ = 0;
  uint64_t num_stores_ = 0;
};

/// How a rank ended. Each rank's exception stays in its own place until all threads have ended.
struct Outcome {
  std::exception_ptr failure;
  bool is_cause = true;
  int order = 0;  // among the failures of all ranks
};

void run_rank(Communicator& comm, const std::function<void(Communicator&)>& body,
              std::atomic<int>& num_failures, Outcome& outcome) {
  std::string reason;
  try {
    body(comm);
    return;
  } catch (const AbortedError& error) {
    outcome.is_cause = false;
    reason = error.what();
    outcome.failure = std::current_exception();
  } catch (const std::exception& error) {
    reason = error.what();
    outcome.failure = std::current_exception();
  } catch (...) {
    reason = "an exception of unknown type";
    outcome.failure = std::current_exception();
  }
  outcome.order = num_failures++;
  comm.abort(reason);
}

/// A cause goes before the errors of ranks that were ended because of it, the earlier before the later.
bool explains_more(const Outcome& a, const Outcome& b) {
  if (!a.failure || !b.failure) return a.failure && !b.failure;
  if (a.is_cause != b.is_cause) return a.is_cause;
  return a.order < b.order;
}

}  // namespace

ThreadGroup::ThreadGroup(int world_size) {
  SPQ_ASSERT(world_size >= 1);
  meeting_ = std::make_shared<Meeting>(world_size);
}

std::unique_ptr<Communicator> ThreadGroup::communicator(int rank) {
  SPQ_ASSERT(rank >= 0 && rank < meeting_->world_size());
  return std::make_unique<ThreadCommunicator>(meeting_, rank);
}

void run_ranks(int world_size, const std::function<void(Communicator&)>& body) {
  ThreadGroup group(world_size);
  std::atomic<int> num_failures = 0;
  std::vector<Outcome> outcomes(static_cast<size_t>(world_size));
  std::vector<std::thread> threads;
  for (int rank = 0; rank < world_size; ++rank) {
    threads.emplace_back([&, rank] {
      const std::unique_ptr<Communicator> comm = group.communicator(rank);
      run_rank(*comm, body, num_failures, outcomes[static_cast<size_t>(rank)]);
    });
  }
  for (std::thread& thread : threads) thread.join();
  const Outcome& first = *std::min_element(outcomes.begin(), outcomes.end(), explains_more);
  if (first.failure) std::rethrow_exception(first.failure);
}

}  // namespace spq::dist
