// What the tests of device communicators share. SPQ_NCCL_STANDIN is the stand-in library's file.
#pragma once

#include <dlfcn.h>

#include "core/error.h"
#include "dist/nccl_options.h"
#include "tests/dist/nccl_standin.h"

namespace spq::dist::testing {

inline NcclStandin& standin() {
  void* library = dlopen(SPQ_NCCL_STANDIN, RTLD_NOW | RTLD_LOCAL);
  check(library != nullptr, "{}", dlerror());
  return *reinterpret_cast<NcclStandin* (*)()>(dlsym(library, "spq_nccl_standin"))();
}

/// For tests in which nothing goes wrong: a hang is an error after a while.
inline NcclOptions standin_options() {
  return {.timeout = 60, .library = SPQ_NCCL_STANDIN};
}

}  // namespace spq::dist::testing
