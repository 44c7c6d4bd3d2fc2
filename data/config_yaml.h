// Lists of configuration keys from and to YAML.
#pragma once

#include <filesystem>
#include <span>
#include <string>

#include "data/config_key.h"

namespace spq::data {

/// Reads a YAML file into the fields of `keys`, then applies overrides "dotted.key=value" in their order (the
/// last one wins). Fields whose key is not given stay as they are: their defaults.
/// Error with file:line:column (or the override) on: missing file, malformed YAML, unknown key (with the
/// nearest known one), key given twice, wrong type, value out of range, required key missing. Some fields may
/// have been set by then. Rules between keys are the program's own.
void read_config_file(const std::filesystem::path& path, std::span<const std::string> overrides,
                      std::span<const Key> keys);

/// The same from text; `origin` stands for the file in messages.
void read_config_text(const std::string& text, const std::string& origin, std::span<const Key> keys);

/// Every key with its value, as YAML that read_config_text reads back to equal fields. Keys of one section
/// have to stand together.
std::string config_to_yaml(std::span<const Key> keys);

}  // namespace spq::data
