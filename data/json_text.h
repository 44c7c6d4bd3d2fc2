// JSON as we accept it from files.
#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace spq::data {

/// Parses one JSON value. Error starting with `place` on anything malformed, on a key given twice in one
/// object (readers disagree on which one counts) and on nesting deeper than any of our files has.
nlohmann::json parse_json(std::string_view text, const std::string& place);

/// The same for a file's text. Error naming the file when it cannot be read or is implausibly large.
nlohmann::json read_json_file(const std::filesystem::path& path);

/// A value as a message shows it: in one line, and only the start of a long one.
std::string shown_json(const nlohmann::json& value);

}  // namespace spq::data
