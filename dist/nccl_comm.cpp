#include "dist/nccl_comm.h"

#include <utility>

#include "core/error.h"

namespace spq::dist {

NcclComm::NcclComm(std::shared_ptr<const NcclApi> api, const NcclUniqueId& id, int world_size, int rank)
    : api_(std::move(api)) {
  NcclConfig config;
  const NcclResult result = api_->comm_init_rank_config(&handle_, world_size, id, rank, &config);
  if (is_fine(result)) return;
  const std::string text = api_->describe(result, nullptr);
  abort();
  fail("{}", text);
}

NcclComm::~NcclComm() {
  abort();
}

void NcclComm::group(const Calls& calls) {
  std::lock_guard lock(mutex_);
  check(handle_ != nullptr, "the NCCL communicator has been ended");
  NcclResult result = api_->group_start();
  if (is_fine(result)) {
    result = calls(*api_, handle_);
    const NcclResult ended = api_->group_end();  // in any case: a group is a state of the thread
    if (is_fine(result)) result = ended;
  }
  check(is_fine(result), "{}", api_->describe(result, handle_));
}

NcclResult NcclComm::state() {
  std::lock_guard lock(mutex_);
  if (handle_ == nullptr) return NcclResult::kSuccess;
  NcclResult state = NcclResult::kSuccess;
  const NcclResult result = api_->comm_get_async_error(handle_, &state);
  return is_fine(result) ? state : result;
}

std::string NcclComm::describe(NcclResult result) {
  std::lock_guard lock(mutex_);
  return api_->describe(result, handle_);
}

void NcclComm::abort() noexcept {
  std::lock_guard lock(mutex_);
  if (handle_ != nullptr) api_->comm_abort(std::exchange(handle_, nullptr));
}

void NcclComm::finalize() {
  std::lock_guard lock(mutex_);
  if (handle_ == nullptr) return;
  const NcclResult result = api_->comm_finalize(handle_);
  check(is_fine(result), "{}", api_->describe(result, handle_));
}

void NcclComm::destroy() {
  std::lock_guard lock(mutex_);
  if (handle_ != nullptr) api_->comm_destroy(std::exchange(handle_, nullptr));
}

}  // namespace spq::dist
