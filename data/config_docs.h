// Documentation of a list of configuration keys.
#pragma once

#include <span>
#include <string>

#include "data/config_key.h"

namespace spq::data {

/// Whether the tables say which keys may change when a run is resumed.
enum class ResumeColumn { kShow, kOmit };

/// One Markdown table for each top-level section, with a heading, a row per key and a final newline. Keys
/// outside all sections come under "Files". `keys` have to be bound to an object that holds the defaults;
/// those of one section have to stand together.
std::string config_tables(std::span<const Key> keys, ResumeColumn resume);

}  // namespace spq::data
