// One NCCL communicator, which never blocks the caller.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "dist/nccl_api.h"

namespace spq::dist {

/// Any thread may call any function. After abort() there is nothing left to use: group() is an Error, the
/// other functions do nothing.
class NcclComm {
 public:
  /// Begins initialisation, together with the other ranks: state() is kInProgress until it is through.
  NcclComm(std::shared_ptr<const NcclApi> api, const NcclUniqueId& id, int world_size, int rank);
  ~NcclComm();  // aborts what was not destroyed
  NcclComm(const NcclComm&) = delete;
  NcclComm& operator=(const NcclComm&) = delete;

  /// NCCL calls for one group; the first failure ends them.
  using Calls = std::function<NcclResult(const NcclApi&, NcclHandle)>;
  /// Issues a group. While state() is kInProgress it may not be in its stream yet. Error in NCCL's words.
  void group(const Calls& calls);

  /// kSuccess, kInProgress, or the asynchronous error that NCCL has met; kSuccess after the end.
  NcclResult state();
  std::string describe(NcclResult result);

  /// Ends everything in flight, so that streams get on, and releases the communicator.
  void abort() noexcept;

  /// Begins the orderly end: state() is kInProgress until everything in flight is through. Then destroy().
  void finalize();
  void destroy();

 private:
  std::shared_ptr<const NcclApi> api_;
  std::mutex mutex_;
  NcclHandle handle_ = nullptr;
};

}  // namespace spq::dist
