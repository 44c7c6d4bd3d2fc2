// Finding keys in a list, and what to say about a name or a value that is wrong.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "data/config_key.h"

namespace spq::data {

/// The key with this dotted path, or nullptr.
const Key* find_key(std::span<const Key> keys, std::string_view path);

/// True for the path of a map of keys, for example quant or quant.activation.
bool is_section(std::span<const Key> keys, std::string_view path);

/// "; did you mean optimizer.steps?" or, when no key or section resembles `path`, a pointer to the
/// documentation.
std::string key_suggestion(std::span<const Key> keys, const std::string& path);

/// "key is 'found', expected integer: 0 or more".
std::string value_error(const Key& key, std::string_view found);

/// Error naming the first key whose field holds no legal value: for objects that were not read from YAML.
void check_values(std::span<const Key> keys);

}  // namespace spq::data
