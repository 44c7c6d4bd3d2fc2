// Text that came out of a file, made fit for a message.
#pragma once

#include <string>
#include <string_view>

namespace spq::data {

/// `text` in one line: control characters and bytes that are not UTF-8 as
/// \xNN; of more than 200 bytes only the first, with the number of all.
std::string shown(std::string_view text);

}  // namespace spq::data
