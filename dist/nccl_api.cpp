#include "dist/nccl_api.h"

#include <dlfcn.h>

#include "core/error.h"

#if __has_include(<nccl.h>)
#include <nccl.h>
#endif

namespace spq::dist {

namespace {

constexpr int kOldest = 21400;  // communicators that do not block

#ifdef NCCL_VERSION_CODE
constexpr bool same(NcclResult ours, ncclResult_t theirs) {
  return static_cast<int>(ours) == static_cast<int>(theirs);
}
static_assert(same(NcclResult::kSuccess, ncclSuccess) && same(NcclResult::kInProgress, ncclInProgress));
static_assert(same(NcclResult::kUnhandledCudaError, ncclUnhandledCudaError));
static_assert(same(NcclResult::kSystemError, ncclSystemError));
static_assert(same(NcclResult::kInternalError, ncclInternalError));
static_assert(same(NcclResult::kInvalidArgument, ncclInvalidArgument));
static_assert(same(NcclResult::kInvalidUsage, ncclInvalidUsage));
static_assert(same(NcclResult::kRemoteError, ncclRemoteError));
static_assert(sizeof(NcclResult) == sizeof(ncclResult_t) && sizeof(NcclType) == sizeof(ncclDataType_t));
static_assert(static_cast<int>(NcclType::kUint8) == ncclUint8);
static_assert(sizeof(NcclUniqueId) == sizeof(ncclUniqueId) && alignof(NcclUniqueId) == alignof(ncclUniqueId));
static_assert(offsetof(NcclConfig, size) == offsetof(ncclConfig_t, size));
static_assert(offsetof(NcclConfig, magic) == offsetof(ncclConfig_t, magic));
static_assert(offsetof(NcclConfig, version) == offsetof(ncclConfig_t, version));
static_assert(offsetof(NcclConfig, blocking) == offsetof(ncclConfig_t, blocking));
static_assert(NcclConfig::kSize <= sizeof(ncclConfig_t));
constexpr ncclConfig_t kTheirs = NCCL_CONFIG_INITIALIZER;
static_assert(NcclConfig::kMagic == kTheirs.magic);
#endif
static_assert(NcclConfig::kSize == offsetof(NcclConfig, blocking) + sizeof(int));

template <class Function>
void find(void* library, const std::string& path, const char* name, Function*& function) {
  void* symbol = dlsym(library, name);
  check(symbol != nullptr, "NCCL: {} has no function {}", path, name);
  function = reinterpret_cast<Function*>(symbol);
}

}  // namespace

std::shared_ptr<const NcclApi> NcclApi::load(const std::string& path) {
  // Never closed: NCCL has threads of its own.
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  check(library != nullptr, "NCCL: cannot load {}: {}", path, dlerror());
  const auto api = std::make_shared<NcclApi>();
  find(library, path, "ncclGetVersion", api->get_version);
  find(library, path, "ncclGetUniqueId", api->get_unique_id);
  find(library, path, "ncclCommInitRankConfig", api->comm_init_rank_config);
  find(library, path, "ncclCommGetAsyncError", api->comm_get_async_error);
  find(library, path, "ncclCommFinalize", api->comm_finalize);
  find(library, path, "ncclCommDestroy", api->comm_destroy);
  find(library, path, "ncclCommAbort", api->comm_abort);
  find(library, path, "ncclGetErrorString", api->get_error_string);
  find(library, path, "ncclGetLastError", api->get_last_error);
  find(library, path, "ncclGroupStart", api->group_start);
  find(library, path, "ncclGroupEnd", api->group_end);
  find(library, path, "ncclAllGather", api->all_gather);
  find(library, path, "ncclBroadcast", api->broadcast);
  find(library, path, "ncclSend", api->send);
  find(library, path, "ncclRecv", api->receive);
  check(api->version() >= kOldest, "NCCL: {} is version {}, expected {} or newer", path,
        nccl_version_text(api->version()), nccl_version_text(kOldest));
  return api;
}

std::string NcclApi::describe(NcclResult result, NcclHandle comm) const {
  std::string text = get_error_string(result);
  const char* more = get_last_error(comm);
  if (more != nullptr && *more != '\0') text += fmt::format(" ({})", more);
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

int NcclApi::version() const {
  int version = 0;
  const NcclResult result = get_version(&version);
  check(result == NcclResult::kSuccess, "NCCL: ncclGetVersion failed: {}", get_error_string(result));
  return version;
}

std::string nccl_version_text(int version) {
  return fmt::format("{}.{}.{}", version / 10000, version / 100 % 100, version % 100);
}

}  // namespace spq::dist
