#include "dist/nccl_transport.h"

#include <ATen/ops/empty.h>

#include <cstring>
#include <exception>
#include <utility>

#include "core/error.h"
#include "dist/backoff.h"
#include "dist/collectives.h"

namespace spq::dist {

namespace {

constexpr double kCloseSeconds = 10;  // for what is in flight at the end, when there is no timeout

std::byte* bytes_of(const at::Tensor& tensor) {
  return static_cast<std::byte*>(tensor.mutable_data_ptr());
}

/// Calls of one matrix: one all-gather where all ranks have as many rows, else a broadcast per rank.
NcclResult gather_calls(const NcclApi& api, NcclHandle comm, DeviceStream stream, const NcclGather& g,
                        int rank) {
  const size_t total = g.whole.nbytes();
  if (total == 0) return NcclResult::kSuccess;
  const auto row_bytes = static_cast<int64_t>(total) / g.rows.num_rows();
  const auto num_bytes = [&](int r) { return static_cast<size_t>(g.rows.count(r) * row_bytes); };
  const void* mine = g.shard.const_data_ptr();
  if (g.rows.num_rows() % g.rows.world_size() == 0) {
    return api.all_gather(mine, bytes_of(g.whole), num_bytes(0), NcclType::kUint8, comm, stream);
  }
  for (int r = 0; r < g.rows.world_size(); ++r) {
    if (num_bytes(r) == 0) continue;
    std::byte* place = bytes_of(g.whole) + g.rows.begin(r) * row_bytes;
    const NcclResult result =
        api.broadcast(r == rank ? mine : place, place, num_bytes(r), NcclType::kUint8, r, comm, stream);
    if (!is_fine(result)) return result;
  }
  return NcclResult::kSuccess;
}

class DoneWork final : public Work {
 public:
  void wait() override {}
};

class NcclWork final : public Work {
 public:
  NcclWork(NcclTransport& transport, std::shared_ptr<DeviceEvent> end)
      : transport_(transport), end_(std::move(end)) {}

  void wait() override {
    transport_.watch().check();
    end_->hold(transport_.runtime().compute_stream());
  }

 private:
  NcclTransport& transport_;
  std::shared_ptr<DeviceEvent> end_;
};

}  // namespace

void check_nccl_versions(Communicator& host, int mine) {
  const std::vector<std::string> versions = gather_texts(host, nccl_version_text(mine));
  for (size_t r = 1; r < versions.size(); ++r) {
    if (versions[r] == versions[0]) continue;
    throw AgreedError(
        fmt::format("different NCCL versions: rank 0 has {}, rank {} has {}", versions[0], r, versions[r]));
  }
}

NcclTransport::NcclTransport(Communicator& host, std::shared_ptr<DeviceRuntime> runtime,
                             const NcclOptions& options)
    : host_(host),
      runtime_(std::move(runtime)),
      exceptions_before_(std::uncaught_exceptions()),
      watch_(host, *runtime_, options) {
  std::shared_ptr<const NcclApi> api;
  collectively(host, [&] { api = NcclApi::load(options.library); });
  check_nccl_versions(host, api->version());
  connect(gathers_, "gathers", api);
  connect(others_, "others", api);
}

NcclTransport::~NcclTransport() {
  const bool orderly = std::uncaught_exceptions() == exceptions_before_ && !watch_.has_ended();
  watch_.stop();
  for (Lane* lane : {&gathers_, &others_}) {
    if (!orderly || !close(*lane)) lane->comm->abort();
  }
}

void NcclTransport::connect(Lane& lane, const char* name, const std::shared_ptr<const NcclApi>& api) {
  NcclUniqueId id{};
  collectively(host_, [&] {
    if (host_.rank() != 0) return;
    const NcclResult result = api->get_unique_id(&id);
    spq::check(result == NcclResult::kSuccess, "NCCL: {}", api->describe(result, nullptr));
  });
  at::Tensor bytes = at::empty({static_cast<int64_t>(sizeof(id))}, at::kByte);
  std::memcpy(bytes.mutable_data_ptr(), &id, sizeof(id));
  host_.broadcast(bytes, 0);
  std::memcpy(&id, bytes.const_data_ptr(), sizeof(id));

  const std::string what = fmt::format("NCCL initialisation ({})", name);
  lane.stream = runtime_->other_stream(name);
  try {
    lane.comm = std::make_shared<NcclComm>(api, id, host_.world_size(), host_.rank());
  } catch (const Error& error) {
    watch_.fail_here(fmt::format("{} failed on rank {}: {}", what, host_.rank(), error.what()));
  }
  watch_.settle(*lane.comm, what);
  watch_.add(lane.comm);
}

/// Issues `calls` on the lane's stream, after what the compute stream has been given so far. Returns the
/// event of their end.
std::shared_ptr<DeviceEvent> NcclTransport::issue(Lane& lane, const char* kind, const std::string& sizes,
                                                  const NcclComm::Calls& calls) {
  watch_.check();
  const std::string what = fmt::format("{} number {} ({})", kind, ++lane.num_calls, sizes);
  runtime_->record(runtime_->compute_stream())->hold(lane.stream);
  const std::shared_ptr<DeviceEvent> start = runtime_->record(lane.stream);
  try {
    lane.comm->group(calls);
  } catch (const Error& error) {
    watch_.fail_here(fmt::format("{} failed on rank {}: {}", what, host_.rank(), error.what()));
  }
  watch_.settle(*lane.comm, what);  // an event recorded earlier could come before the collective
  const std::shared_ptr<DeviceEvent> end = runtime_->record(lane.stream);
  watch_.begin(what, start, end);
  return end;
}

std::unique_ptr<Work> NcclTransport::gather(const std::vector<NcclGather>& matrices) {
  size_t num_bytes = 0;
  for (const NcclGather& matrix : matrices) num_bytes += matrix.whole.nbytes();
  if (num_bytes == 0) return std::make_unique<DoneWork>();
  const std::string sizes = fmt::format("{} {}, {} bytes", matrices.size(),
                                        matrices.size() == 1 ? "matrix" : "matrices", num_bytes);
  const DeviceStream stream = gathers_.stream;
  const auto end =
      issue(gathers_, "all-gather", sizes, [&, rank = host_.rank()](const NcclApi& api, NcclHandle comm) {
        for (const NcclGather& matrix : matrices) {
          const NcclResult result = gather_calls(api, comm, stream, matrix, rank);
          if (!is_fine(result)) return result;
        }
        return NcclResult::kSuccess;
      });
  for (const NcclGather& matrix : matrices) {
    runtime_->keep(matrix.shard, stream);
    runtime_->keep(matrix.whole, stream);
  }
  return std::make_unique<NcclWork>(*this, end);
}

void NcclTransport::all_to_all(std::span<const at::Tensor> send, std::span<at::Tensor> receive) {
  size_t sent = 0;
  size_t received = 0;
  for (const at::Tensor& tensor : send) sent += tensor.nbytes();
  for (const at::Tensor& tensor : receive) received += tensor.nbytes();
  if (sent + received == 0) return;
  const std::string sizes = fmt::format("{} bytes sent, {} received", sent, received);
  const auto end = issue(others_, "all-to-all", sizes, [&](const NcclApi& api, NcclHandle comm) {
    NcclResult result = NcclResult::kSuccess;
    for (size_t r = 0; r < send.size() && is_fine(result); ++r) {
      const int peer = static_cast<int>(r);
      if (send[r].nbytes() > 0) {
        result = api.send(send[r].const_data_ptr(), send[r].nbytes(), NcclType::kUint8, peer, comm,
                          others_.stream);
      }
      if (is_fine(result) && receive[r].nbytes() > 0) {
        result = api.receive(bytes_of(receive[r]), receive[r].nbytes(), NcclType::kUint8, peer, comm,
                             others_.stream);
      }
    }
    return result;
  });
  end->hold(runtime_->compute_stream());
}

void NcclTransport::broadcast(const at::Tensor& tensor, int root) {
  if (tensor.nbytes() == 0) return;
  const auto end = issue(others_, "broadcast", fmt::format("{} bytes from rank {}", tensor.nbytes(), root),
                         [&](const NcclApi& api, NcclHandle comm) {
                           return api.broadcast(bytes_of(tensor), bytes_of(tensor), tensor.nbytes(),
                                                NcclType::kUint8, root, comm, others_.stream);
                         });
  end->hold(runtime_->compute_stream());
}

/// False when what is in flight does not end, or the other ranks are ended.
bool NcclTransport::close(Lane& lane) noexcept {
  try {
    lane.comm->finalize();
    const double limit = watch_.timeout() > 0 ? watch_.timeout() : kCloseSeconds;
    Backoff backoff(Pace::kPolite);
    while (lane.comm->state() == NcclResult::kInProgress) {
      if (backoff.waited() >= std::chrono::duration<double>(limit) || !host_.end_reason().empty()) {
        return false;
      }
      backoff.pause();
    }
    if (lane.comm->state() != NcclResult::kSuccess) return false;
    lane.comm->destroy();
    return true;
  } catch (const std::exception&) {
    return false;
  }
}

}  // namespace spq::dist
