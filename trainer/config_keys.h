// Every configuration key, once: its place in the YAML file, its meaning, its legal values and its field in
// Config. Reading, writing, --set, range checks, resume rules and docs/configuration.md all come from this
// table.
#pragma once

#include <vector>

#include "data/config_key.h"
#include "trainer/config.h"

namespace spq::trainer {

/// The table, bound to the fields of `config`, which must outlive it; in the order of the documentation, keys
/// of one section together. The keys of two configurations stand in the same order.
std::vector<data::Key> bind_keys(Config& config);

}  // namespace spq::trainer
