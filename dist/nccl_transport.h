// Collectives on device tensors over NCCL.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "dist/communicator.h"
#include "dist/device_runtime.h"
#include "dist/nccl_options.h"
#include "dist/nccl_watch.h"

namespace spq::dist {

/// One matrix to be gathered: `shard` [rows.count(rank), ...] of every rank into `whole`.
struct NcclGather {
  at::Tensor shard;
  at::Tensor whole;
  RowPartition rows;
};

/// Gathers have an NCCL communicator and a stream of their own, all other collectives another, so that the
/// one does not wait for the other. Nothing blocks the host but NCCL's own setting up (the first use of a
/// connection): each collective's stream waits for what the compute stream has been given so far (so it may
/// overwrite what that reads), and the compute stream for the result.
class NcclTransport {
 public:
  /// Sets NCCL up between the ranks of `host`, which must outlive it. Collective. AgreedError where NCCL is
  /// missing on a rank or has different versions.
  NcclTransport(Communicator& host, std::shared_ptr<DeviceRuntime> runtime, const NcclOptions& options);
  ~NcclTransport();
  NcclTransport(const NcclTransport&) = delete;
  NcclTransport& operator=(const NcclTransport&) = delete;

  /// All matrices as one group, straight into their places. A Work's wait() makes the compute stream wait.
  std::unique_ptr<Work> gather(const std::vector<NcclGather>& matrices);
  /// As Communicator's functions of these names.
  void all_to_all(std::span<const at::Tensor> send, std::span<at::Tensor> receive);
  void broadcast(const at::Tensor& tensor, int root);

  DeviceRuntime& runtime() { return *runtime_; }
  NcclWatch& watch() { return watch_; }

 private:
  struct Lane {
    std::shared_ptr<NcclComm> comm;
    DeviceStream stream = nullptr;
    int64_t num_calls = 0;
  };

  void connect(Lane& lane, const char* name, const std::shared_ptr<const NcclApi>& api);
  std::shared_ptr<DeviceEvent> issue(Lane& lane, const char* kind, const std::string& sizes,
                                     const NcclComm::Calls& calls);
  bool close(Lane& lane) noexcept;

  Communicator& host_;
  std::shared_ptr<DeviceRuntime> runtime_;
  int exceptions_before_;
  Lane gathers_;
  Lane others_;
  NcclWatch watch_;  // last: its thread uses the rest
};

/// AgreedError that names the ranks and their versions unless every rank has the same. Collective.
void check_nccl_versions(Communicator& host, int mine);

}  // namespace spq::dist
