// NCCL's functions as far as they are used, found at run time: programs start where NCCL is not installed.
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <string>

namespace spq::dist {

// The names and numbers of nccl.h; nccl_api.cpp compares them with it where it can be included.
enum class NcclResult : int {
  kSuccess = 0,
  kUnhandledCudaError = 1,
  kSystemError = 2,
  kInternalError = 3,
  kInvalidArgument = 4,
  kInvalidUsage = 5,
  kRemoteError = 6,
  kInProgress = 7,
};

/// No failure; kInProgress: the call goes on without its caller.
inline bool is_fine(NcclResult result) {
  return result == NcclResult::kSuccess || result == NcclResult::kInProgress;
}

enum class NcclType : int { kUint8 = 1 };

struct NcclUniqueId {
  std::array<char, 128> bytes;
};

/// The first members of ncclConfig_t, those of NCCL 2.14. `size` and `version` tell a newer library that the
/// rest is not there.
struct NcclConfig {
  static constexpr size_t kSize = 2 * sizeof(unsigned) + sizeof(size_t) + sizeof(int);
  static constexpr unsigned kMagic = 0xcafebeef;
  static constexpr unsigned kVersion = 21400;

  size_t size = kSize;
  unsigned magic = kMagic;
  unsigned version = kVersion;
  int blocking = 0;
};

using NcclHandle = void*;  // ncclComm_t
using NcclStream = void*;  // cudaStream_t

struct NcclApi {
  /// Loads the library, for the rest of the process. Error naming it and the reason when it, or a function in
  /// it, is not there, or when it is older than 2.14.
  static std::shared_ptr<const NcclApi> load(const std::string& library);

  /// NCCL's words for a result, with what it last said about `comm` (may be null).
  std::string describe(NcclResult result, NcclHandle comm) const;
  /// NCCL_VERSION_CODE: 22809 for 2.28.9.
  int version() const;

  NcclResult (*get_version)(int*);
  NcclResult (*get_unique_id)(NcclUniqueId*);
  NcclResult (*comm_init_rank_config)(NcclHandle*, int world_size, NcclUniqueId, int rank, NcclConfig*);
  NcclResult (*comm_get_async_error)(NcclHandle, NcclResult*);
  NcclResult (*comm_finalize)(NcclHandle);
  NcclResult (*comm_destroy)(NcclHandle);
  NcclResult (*comm_abort)(NcclHandle);
  const char* (*get_error_string)(NcclResult);
  const char* (*get_last_error)(NcclHandle);
  NcclResult (*group_start)();
  NcclResult (*group_end)();
  NcclResult (*all_gather)(const void* send, void* receive, size_t count, NcclType, NcclHandle, NcclStream);
  NcclResult (*broadcast)(const void* send, void* receive, size_t count, NcclType, int root, NcclHandle,
                          NcclStream);
  NcclResult (*send)(const void*, size_t count, NcclType, int to, NcclHandle, NcclStream);
  NcclResult (*receive)(void*, size_t count, NcclType, int from, NcclHandle, NcclStream);
};

/// "2.28.9" for 22809.
std::string nccl_version_text(int version);

}  // namespace spq::dist
