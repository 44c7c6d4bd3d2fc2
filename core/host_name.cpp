#include "core/host_name.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "core/error.h"

namespace spq {

std::string host_name() {
  char name[256] = "";  // longer than any name Linux allows
  check(gethostname(name, sizeof(name) - 1) == 0, "no host name: {}", std::strerror(errno));
  return name;
}

}  // namespace spq
