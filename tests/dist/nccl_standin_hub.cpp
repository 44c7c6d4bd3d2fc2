#include "tests/dist/nccl_standin_hub.h"

#include <algorithm>
#include <cstring>

namespace spq::dist::testing {

namespace {

/// The key of an operation but for its number.
std::pair<int, int> ends_of(const Op& op, int rank) {
  if (op.is_collective()) return {-1, -1};
  return op.kind == "send" ? std::pair(rank, op.peer) : std::pair(op.peer, rank);
}

bool is_from_self(const Op& op, int rank) {
  return op.kind == "receive" && op.peer == rank;
}

bool match(const Op& a, const Op& b) {
  if (a.is_collective()) return a.terms() == b.terms();
  return a.num_bytes == b.num_bytes && a.type == b.type;
}

void deliver(const Op& op, int rank, const Meeting& meeting) {
  const auto copy = [&](const void* from, void* to) {
    if (from != to) std::memmove(to, from, op.num_bytes);
  };
  if (op.kind == "broadcast") return copy(meeting.parts.at(op.peer).send, op.receive);
  for (const auto& [other, part] : meeting.parts) {
    if (op.kind == "receive" && other != rank) copy(part.send, op.receive);
    if (op.kind == "all_gather") {
      copy(part.send, static_cast<std::byte*>(op.receive) + static_cast<size_t>(other) * op.num_bytes);
    }
  }
}

}  // namespace

void NcclHub::reset() {
  std::lock_guard lock(mutex_);
  worlds_.clear();
  comms_.clear();
  groups_.clear();
  problems_.clear();
  failing_inits_.clear();
  hanging_inits_.clear();
  failing_groups_.clear();
  hanging_groups_.clear();
  errors_.clear();
  num_groups_.clear();
  num_aborted_ = num_destroyed_ = 0;
  alone_ = false;
}

std::vector<std::string> NcclHub::groups(int rank) {
  std::lock_guard lock(mutex_);
  return groups_[rank];
}

std::vector<std::string> NcclHub::problems() {
  std::lock_guard lock(mutex_);
  return problems_;
}

int NcclHub::num_open() {
  std::lock_guard lock(mutex_);
  const auto is_open = [](const auto& comm) { return comm->open; };
  return static_cast<int>(std::count_if(comms_.begin(), comms_.end(), is_open));
}

int NcclHub::num_aborted() {
  std::lock_guard lock(mutex_);
  return num_aborted_;
}

int NcclHub::num_destroyed() {
  std::lock_guard lock(mutex_);
  return num_destroyed_;
}

void NcclHub::fail_init(int rank, NcclResult result) {
  std::lock_guard lock(mutex_);
  failing_inits_[rank] = result;
}

void NcclHub::hang_init(int rank) {
  std::lock_guard lock(mutex_);
  hanging_inits_.insert(rank);
}

void NcclHub::fail_group(int rank, int number, NcclResult result) {
  std::lock_guard lock(mutex_);
  failing_groups_[{rank, number}] = result;
}

void NcclHub::hang_group(int rank, int number) {
  std::lock_guard lock(mutex_);
  hanging_groups_.insert({rank, number});
}

void NcclHub::set_async_error(int rank, NcclResult result) {
  std::lock_guard lock(mutex_);
  errors_[rank] = result;
}

void NcclHub::be_alone() {
  std::lock_guard lock(mutex_);
  alone_ = true;
}

void NcclHub::make_id(NcclUniqueId* id) {
  std::lock_guard lock(mutex_);
  id->bytes.fill(0);
  std::memcpy(id->bytes.data(), &num_ids_, sizeof(num_ids_));
  ++num_ids_;
}

NcclResult NcclHub::init(NcclHandle* handle, int size, const NcclUniqueId& id, int rank,
                         const NcclConfig& config) {
  std::lock_guard lock(mutex_);
  *handle = nullptr;
  if (config.blocking != 0 || config.size != NcclConfig::kSize || config.magic != NcclConfig::kMagic) {
    return NcclResult::kInvalidArgument;
  }
  if (failing_inits_.contains(rank)) return failing_inits_[rank];
  int number = 0;
  std::memcpy(&number, id.bytes.data(), sizeof(number));
  World& world = worlds_[number];
  world.size = size;
  if (!hanging_inits_.contains(rank)) ++world.num_joined;
  comms_.push_back(std::make_unique<Comm>());
  comms_.back()->world = &world;
  comms_.back()->rank = rank;
  *handle = comms_.back().get();
  return NcclResult::kInProgress;
}

NcclResult NcclHub::state(Comm& comm) {
  std::lock_guard lock(mutex_);
  if (!usable(comm, "ncclCommGetAsyncError")) return NcclResult::kInvalidUsage;
  if (errors_.contains(comm.rank)) return errors_[comm.rank];
  if (comm.error != NcclResult::kSuccess) return comm.error;
  if (!alone_ && comm.world->num_joined < comm.world->size) return NcclResult::kInProgress;
  if (comm.to_issue.empty()) {
    const bool is_busy = comm.finalizing && comm.num_played < comm.num_issued;
    return is_busy ? NcclResult::kInProgress : NcclResult::kSuccess;
  }
  if (!std::exchange(comm.asked, true)) return NcclResult::kInProgress;
  for (; !comm.to_issue.empty(); comm.to_issue.pop_front()) {
    const auto launch = std::make_shared<Launch>(std::move(comm.to_issue.front()));
    ++comm.num_issued;
    launch->stream->enqueue(launch->text, [this, &comm, launch] { play(comm, *launch); });
  }
  return NcclResult::kSuccess;
}

NcclResult NcclHub::finalize(Comm& comm) {
  std::lock_guard lock(mutex_);
  if (!usable(comm, "ncclCommFinalize")) return NcclResult::kInvalidUsage;
  comm.finalizing = true;
  return NcclResult::kInProgress;
}

NcclResult NcclHub::end(Comm& comm, bool abort) {
  std::lock_guard lock(mutex_);
  if (!usable(comm, abort ? "ncclCommAbort" : "ncclCommDestroy")) return NcclResult::kInvalidUsage;
  comm.open = false;
  comm.aborted = abort;
  abort ? ++num_aborted_ : ++num_destroyed_;
  if (!abort && (comm.num_played < comm.num_issued || !comm.to_issue.empty())) {
    problems_.push_back(fmt::format("rank {} destroys a communicator with work in flight", comm.rank));
  }
  changed_.notify_all();
  return NcclResult::kSuccess;
}

NcclResult NcclHub::launch(Comm& comm, StandinStream* stream, std::vector<Op> ops) {
  std::lock_guard lock(mutex_);
  if (!usable(comm, "a collective")) return NcclResult::kInvalidUsage;
  Launch launch{++num_groups_[comm.rank], {}, stream, ""};
  for (size_t i = 0; i < ops.size(); ++i) {
    Op& op = ops[i];
    op.place = i;
    op.group_size = ops.size();
    launch.text += (i == 0 ? "[" : "; ") + op.describe();
    const auto [source, target] = ends_of(op, comm.rank);
    int& count = is_from_self(op, comm.rank) ? comm.num_self_receives : comm.counts[{source, target}];
    launch.ops.emplace_back(Key(source, target, count++), std::move(op));
  }
  launch.text += "]";
  const auto failing = failing_groups_.find({comm.rank, launch.number});
  if (failing != failing_groups_.end()) return failing->second;
  groups_[comm.rank].push_back(launch.text);
  comm.to_issue.push_back(std::move(launch));
  comm.asked = false;
  return NcclResult::kInProgress;
}

bool NcclHub::usable(const Comm& comm, const char* call) {
  if (comm.open) return true;
  problems_.push_back(fmt::format("rank {} calls {} on a communicator that is gone", comm.rank, call));
  return false;
}

/// In the stream: meets the other ranks in every operation of the group.
void NcclHub::play(Comm& comm, const Launch& launch) {
  std::unique_lock lock(mutex_);
  bool hangs = alone_ || hanging_groups_.contains({comm.rank, launch.number});
  std::vector<std::shared_ptr<Meeting>> meetings;
  for (const auto& [key, op] : launch.ops) {
    if (hangs || comm.aborted) break;
    std::shared_ptr<Meeting>& meeting = comm.world->meetings[key];
    if (!meeting) meeting = std::make_shared<Meeting>();
    meetings.push_back(meeting);
    // Of a message to itself the rank is both ends.
    meeting->parts[is_from_self(op, comm.rank) ? -1 : comm.rank] = op;
    const size_t expected = op.is_collective() ? static_cast<size_t>(comm.world->size) : 2;
    if (meeting->parts.size() == expected) hangs = !carry_out(comm, *meeting);
  }
  changed_.notify_all();
  const auto is_done = [](const auto& meeting) { return meeting->done; };
  changed_.wait(lock, [&] {
    return comm.aborted || (!hangs && std::all_of(meetings.begin(), meetings.end(), is_done));
  });
  for (const auto& meeting : meetings) {  // aborted: its memory may be gone when the others come
    if (meeting->done) continue;
    meeting->parts.erase(comm.rank);
    meeting->parts.erase(-1);
  }
  ++comm.num_played;
}

/// False when the ranks' calls do not match: the real library would hang, or worse.
bool NcclHub::carry_out(const Comm& comm, Meeting& meeting) {
  const Op& first = meeting.parts.begin()->second;
  for (const auto& [rank, op] : meeting.parts) {
    if (match(first, op)) continue;
    problems_.push_back(fmt::format("ranks do not match: {} (place {} of {}) and {} (place {} of {})",
                                    first.describe(), first.place, first.group_size, op.describe(), op.place,
                                    op.group_size));
    for (const auto& other : comms_) {
      if (other->world == comm.world) other->error = NcclResult::kInvalidUsage;
    }
    return false;
  }
  for (const auto& [rank, op] : meeting.parts) deliver(op, rank, meeting);
  meeting.done = true;
  return true;
}

}  // namespace spq::dist::testing
