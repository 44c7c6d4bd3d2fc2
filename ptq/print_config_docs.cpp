// Writes docs/configuration-ptq.md to standard output.
#include <cstdio>
#include <string>

#include "ptq/config_docs.h"

int main() {
  const std::string page = spq::ptq::configuration_page();
  const bool written =
      std::fwrite(page.data(), 1, page.size(), stdout) == page.size() && std::fflush(stdout) == 0;
  return written ? 0 : 1;
}
