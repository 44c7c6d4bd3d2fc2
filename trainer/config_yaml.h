// Configuration from and to YAML.
#pragma once

#include <filesystem>
#include <span>
#include <string>

#include "trainer/config.h"

namespace spq::trainer {

/// Reads a YAML file, then applies overrides "dotted.key=value" in their order (the last one wins).
/// Error with file:line:column (or the override) on: missing file, malformed YAML, unknown key (with the
/// nearest known one), key given twice, wrong type, value out of range, required key missing. Rules between
/// keys: validate().
Config load_config(const std::filesystem::path& path, std::span<const std::string> overrides);

/// The same from text; `origin_name` stands for the file in messages.
Config config_from_yaml_text(const std::string& text, const std::string& origin_name);

/// Every key with its value, as YAML that config_from_yaml_text reads back to an equal Config.
std::string to_yaml(const Config& config);

}  // namespace spq::trainer
