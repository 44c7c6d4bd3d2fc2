// Writes docs/configuration.md to standard output.
#include <cstdio>
#include <string>

#include "trainer/config_docs.h"

int main() {
  std::string page = spq::trainer::configuration_page();
  bool written = std::fwrite(page.data(), 1, page.size(), stdout) == page.size() && std::fflush(stdout) == 0;
  return written ? 0 : 1;
}
