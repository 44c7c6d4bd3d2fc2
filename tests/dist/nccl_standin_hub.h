// What all communicators of the stand-in share (nccl_standin.h).
#pragma once

#include <fmt/format.h>

#include <condition_variable>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "tests/dist/nccl_standin.h"

namespace spq::dist::testing {

struct Op {
  std::string kind;
  const void* send = nullptr;
  void* receive = nullptr;
  size_t num_bytes = 0;
  int type = 0;
  int peer = 0;  // or root
  size_t place = 0;
  size_t group_size = 0;

  bool is_collective() const { return kind == "all_gather" || kind == "broadcast"; }
  /// What all ranks of a collective have to agree on.
  auto terms() const { return std::tie(kind, num_bytes, type, peer, place, group_size); }
  std::string describe() const {
    if (kind == "all_gather") return fmt::format("{} {}", kind, num_bytes);
    return fmt::format("{} {} {} {}", kind, num_bytes, kind == "send" ? "to" : "from", peer);
  }
};

// Collective: (-1, -1, its number). Message: (source, target, its number).
using Key = std::tuple<int, int, int>;

struct Meeting {
  std::map<int, Op> parts;  // by rank
  bool done = false;
};

struct World {
  int size = 0;
  int num_joined = 0;
  std::map<Key, std::shared_ptr<Meeting>> meetings;
};

struct Launch {
  int number;
  std::vector<std::pair<Key, Op>> ops;
  StandinStream* stream;
  std::string text;
};

struct Comm {
  World* world;
  int rank;
  bool open = true;
  bool aborted = false;
  NcclResult error = NcclResult::kSuccess;
  std::deque<Launch> to_issue;
  bool asked = false;  // since the latest group
  bool finalizing = false;
  int num_issued = 0;
  int num_played = 0;
  std::map<std::pair<int, int>, int> counts;  // of keys so far
  int num_self_receives = 0;
};

/// One lock for everything: tests are small.
class NcclHub final : public NcclStandin {
 public:
  void reset() override;
  std::vector<std::string> groups(int rank) override;
  std::vector<std::string> problems() override;
  int num_open() override;
  int num_aborted() override;
  int num_destroyed() override;
  void fail_init(int rank, NcclResult result) override;
  void hang_init(int rank) override;
  void fail_group(int rank, int number, NcclResult result) override;
  void hang_group(int rank, int number) override;
  void set_async_error(int rank, NcclResult result) override;
  void be_alone() override;

  void make_id(NcclUniqueId* id);
  NcclResult init(NcclHandle* handle, int size, const NcclUniqueId& id, int rank, const NcclConfig& config);
  NcclResult state(Comm& comm);
  NcclResult finalize(Comm& comm);
  NcclResult end(Comm& comm, bool abort);
  /// One group's calls on one communicator and stream.
  NcclResult launch(Comm& comm, StandinStream* stream, std::vector<Op> ops);

 private:
  bool usable(const Comm& comm, const char* call);
  void play(Comm& comm, const Launch& launch);
  bool carry_out(const Comm& comm, Meeting& meeting);

  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<int, World> worlds_;
  std::vector<std::unique_ptr<Comm>> comms_;
  std::map<int, std::vector<std::string>> groups_;
  std::vector<std::string> problems_;
  std::map<int, NcclResult> failing_inits_;
  std::set<int> hanging_inits_;
  std::map<std::pair<int, int>, NcclResult> failing_groups_;
  std::set<std::pair<int, int>> hanging_groups_;
  std::map<int, NcclResult> errors_;
  std::map<int, int> num_groups_;
  int num_ids_ = 1;
  int num_aborted_ = 0;
  int num_destroyed_ = 0;
  bool alone_ = false;
};

}  // namespace spq::dist::testing
