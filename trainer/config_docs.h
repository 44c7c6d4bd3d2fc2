// docs/configuration.md, generated from the key table.
#pragma once

#include <string>

namespace spq::trainer {

/// The whole page in Markdown, final newline included.
std::string configuration_page();

}  // namespace spq::trainer
