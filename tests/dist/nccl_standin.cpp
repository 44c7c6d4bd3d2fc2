// NCCL's functions of the stand-in (nccl_standin.h).
#include "tests/dist/nccl_standin.h"

#include <utility>

#include "tests/dist/nccl_standin_hub.h"

namespace spq::dist::testing {

namespace {

constexpr int kVersion = 22809;

NcclHub& hub() {
  static NcclHub the_hub;
  return the_hub;
}

/// The calling thread's open group. This project puts every collective into one.
struct Group {
  bool is_open = false;
  Comm* comm = nullptr;
  StandinStream* stream = nullptr;
  std::vector<Op> ops;
};
thread_local Group group;

NcclResult add(Op op, NcclType type, NcclHandle handle, NcclStream stream) {
  auto* comm = static_cast<Comm*>(handle);
  auto* queue = static_cast<StandinStream*>(stream);
  const bool is_first = group.ops.empty();
  if (!group.is_open || (!is_first && (group.comm != comm || group.stream != queue))) {
    return NcclResult::kInvalidUsage;
  }
  op.type = static_cast<int>(type);
  group.comm = comm;
  group.stream = queue;
  group.ops.push_back(std::move(op));
  return NcclResult::kSuccess;
}

}  // namespace

}  // namespace spq::dist::testing

using namespace spq::dist;           // NOLINT: the functions below are the file's content
using namespace spq::dist::testing;  // NOLINT

extern "C" {

NcclStandin* spq_nccl_standin() {
  return &hub();
}

NcclResult ncclGetVersion(int* version) {
  *version = kVersion;
  return NcclResult::kSuccess;
}

NcclResult ncclGetUniqueId(NcclUniqueId* id) {
  hub().make_id(id);
  return NcclResult::kSuccess;
}

NcclResult ncclCommInitRankConfig(NcclHandle* handle, int world_size, NcclUniqueId id, int rank,
                                  NcclConfig* config) {
  return hub().init(handle, world_size, id, rank, *config);
}

NcclResult ncclCommGetAsyncError(NcclHandle handle, NcclResult* state) {
  *state = hub().state(*static_cast<Comm*>(handle));
  return NcclResult::kSuccess;
}

NcclResult ncclCommFinalize(NcclHandle handle) {
  return hub().finalize(*static_cast<Comm*>(handle));
}

NcclResult ncclCommDestroy(NcclHandle handle) {
  return hub().end(*static_cast<Comm*>(handle), false);
}

NcclResult ncclCommAbort(NcclHandle handle) {
  return hub().end(*static_cast<Comm*>(handle), true);
}

const char* ncclGetErrorString(NcclResult result) {
  switch (result) {
    case NcclResult::kSystemError:
      return "unhandled system error";
    case NcclResult::kRemoteError:
      return "remote process exited or there was a network error";
    case NcclResult::kInvalidUsage:
      return "invalid usage";
    default:
      return "internal error";
  }
}

const char* ncclGetLastError(NcclHandle) {
  return "says the stand-in";
}

NcclResult ncclGroupStart() {
  if (group.is_open) return NcclResult::kInvalidUsage;
  group.is_open = true;
  return NcclResult::kSuccess;
}

NcclResult ncclGroupEnd() {
  Group ended = std::exchange(group, Group{});
  if (!ended.is_open) return NcclResult::kInvalidUsage;
  if (ended.ops.empty()) return NcclResult::kSuccess;
  return hub().launch(*ended.comm, ended.stream, std::move(ended.ops));
}

NcclResult ncclAllGather(const void* send, void* receive, size_t count, NcclType type, NcclHandle comm,
                         NcclStream stream) {
  return add({.kind = "all_gather", .send = send, .receive = receive, .num_bytes = count}, type, comm,
             stream);
}

NcclResult ncclBroadcast(const void* send, void* receive, size_t count, NcclType type, int root,
                         NcclHandle comm, NcclStream stream) {
  return add({.kind = "broadcast", .send = send, .receive = receive, .num_bytes = count, .peer = root}, type,
             comm, stream);
}

NcclResult ncclSend(const void* send, size_t count, NcclType type, int to, NcclHandle comm,
                    NcclStream stream) {
  return add({.kind = "send", .send = send, .num_bytes = count, .peer = to}, type, comm, stream);
}

NcclResult ncclRecv(void* receive, size_t count, NcclType type, int from, NcclHandle comm,
                    NcclStream stream) {
  return add({.kind = "receive", .receive = receive, .num_bytes = count, .peer = from}, type, comm, stream);
}

}  // extern "C"
