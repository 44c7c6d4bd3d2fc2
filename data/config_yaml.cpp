#include "data/config_yaml.h"

#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <map>
#include <sstream>
#include <system_error>
#include <vector>

#include "core/error.h"
#include "data/config_lookup.h"
#include "data/shown_text.h"

namespace spq::data {
namespace {

/// "file:line:column", counted from 1; only the file where yaml-cpp knows no place.
std::string place(const std::string& origin, const YAML::Mark& mark) {
  if (mark.is_null()) return origin;
  return fmt::format("{}:{}:{}", origin, mark.line + 1, mark.column + 1);
}

const char* kind_of(const YAML::Node& node) {
  if (node.IsMap()) return "a section";
  if (node.IsSequence()) return "a list";
  return node.IsScalar() ? "a value" : "nothing";
}

/// Walks a YAML tree along the list of keys.
class Reader {
 public:
  Reader(std::string origin, std::span<const Key> keys) : origin_(std::move(origin)), keys_(keys) {}

  void read_section(const YAML::Node& section, const std::string& prefix) {
    std::map<std::string, int> first_lines;
    // yaml-cpp keeps both pairs of a duplicate key and finds only the first: iterating shows them.
    for (const auto& pair : section) {
      std::string at = place(origin_, pair.first.Mark());
      if (!pair.first.IsScalar())
        fail("{}: the name of a key is {}, expected a word", at, kind_of(pair.first));
      std::string path = prefix + pair.first.Scalar();
      auto [known, is_new] = first_lines.emplace(path, pair.first.Mark().line + 1);
      check(is_new, "{}: key {} is given twice, first on line {}", at, shown(path), known->second);
      read_entry(path, pair.first.Scalar(), pair.second, at);
    }
  }

 private:
  void read_entry(const std::string& path, const std::string& name, const YAML::Node& value,
                  const std::string& at) {
    bool known = is_section(keys_, path) || find_key(keys_, path) != nullptr;
    if (known && name.find('.') != std::string::npos) {
      fail("{}: key {} is written with a dot, expected nested sections", at, shown(path));
    }
    check(known, "{}: unknown key {}{}", at, shown(path), key_suggestion(keys_, path));
    if (is_section(keys_, path)) {
      // A section whose keys are all commented out is null.
      if (value.IsNull()) return;
      check(value.IsMap(), "{}: {} is {}, expected a section of keys", place(origin_, value.Mark()), path,
            kind_of(value));
      read_section(value, path + ".");
      return;
    }
    const Key& key = *find_key(keys_, path);
    std::string value_at = value.IsNull() ? at : place(origin_, value.Mark());
    check(value.IsScalar(), "{}: {} is {}, expected {}: {}", value_at, path, kind_of(value), key.type,
          key.allowed);
    check(key.set(value.Scalar()), "{}: {}", value_at, value_error(key, value.Scalar()));
  }

  std::string origin_;
  std::span<const Key> keys_;
};

void read_yaml(const std::string& text, const std::string& origin, std::span<const Key> keys) {
  std::vector<YAML::Node> documents;
  try {
    // yaml-cpp lets an open quote run to the end of the text; an end-of-document mark inside it is an error.
    documents = YAML::LoadAll(text + "\n...\n");
  } catch (const YAML::Exception& error) {
    bool open_quote = error.msg == YAML::ErrorMsg::DOC_IN_SCALAR;
    check(!open_quote, "{}: malformed YAML: a quote before this place is not closed",
          place(origin, error.mark));
    fail("{}: malformed YAML: {}", place(origin, error.mark), shown(error.msg));
  }
  check(!documents.empty() && !documents.front().IsNull(), "{}: no configuration in it, expected YAML keys",
        origin);
  check(documents.size() == 1, "{}: {} YAML documents, expected one", origin, documents.size());
  const YAML::Node& root = documents.front();
  check(root.IsMap(), "{}: the file is {}, expected keys and values", place(origin, root.Mark()),
        kind_of(root));
  Reader(origin, keys).read_section(root, "");
}

void apply_override(const std::string& text, std::span<const Key> keys) {
  size_t equals = text.find('=');
  check(equals != std::string::npos && equals > 0, "--set {}: expected key=value", shown(text));
  std::string path = text.substr(0, equals), value = text.substr(equals + 1);
  check(!is_section(keys, path), "--set {}: {} is a section, expected a key in it", text, path);
  const Key* key = find_key(keys, path);
  check(key != nullptr, "--set {}: unknown key {}{}", text, path, key_suggestion(keys, path));
  check(key->set(value), "--set {}: {}", text, value_error(*key, value));
}

void check_required(std::span<const Key> keys, const std::string& origin) {
  std::string missing;
  for (const Key& key : keys) {
    if (!key.required || !key.get().empty()) continue;
    missing += fmt::format("{}{} ({})", missing.empty() ? "" : ", ", key.path, key.allowed);
  }
  check(missing.empty(), "{}: required keys are missing: {}", origin, missing);
}

std::string read_file(const std::filesystem::path& path) {
  std::error_code ignored;
  check(!std::filesystem::is_directory(path, ignored), "{}: is a directory, expected a configuration file",
        path.string());
  std::ifstream file(path, std::ios::binary);
  if (!file) fail("{}: cannot open the configuration: {}", path.string(), std::strerror(errno));
  std::ostringstream text;
  text << file.rdbuf();
  check(!file.bad(), "{}: cannot read the configuration", path.string());
  return text.str();
}

/// A YAML double-quoted scalar.
std::string yaml_quoted(const std::string& text) {
  std::string result = "\"";
  for (char c : text) {
    auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      result += '\\';
      result += c;
    } else if (byte < 0x20 || byte == 0x7f) {
      result += fmt::format("\\x{:02x}", byte);
    } else {
      result += c;
    }
  }
  return result + "\"";
}

}  // namespace

void read_config_file(const std::filesystem::path& path, std::span<const std::string> overrides,
                      std::span<const Key> keys) {
  read_yaml(read_file(path), path.string(), keys);
  for (const std::string& text : overrides) apply_override(text, keys);
  check_required(keys, path.string());
}

void read_config_text(const std::string& text, const std::string& origin, std::span<const Key> keys) {
  read_yaml(text, origin, keys);
  check_required(keys, origin);
}

std::string config_to_yaml(std::span<const Key> keys) {
  std::string yaml, open_section;
  for (const Key& key : keys) {
    size_t start = 0, depth = 0;
    // Sections that the previous key already opened are not named again.
    for (size_t dot = key.path.find('.'); dot != std::string::npos;
         dot = key.path.find('.', start), ++depth) {
      std::string section = key.path.substr(0, dot + 1);
      if (!open_section.starts_with(section)) {
        yaml += fmt::format("{}{}:\n", std::string(2 * depth, ' '), key.path.substr(start, dot - start));
      }
      start = dot + 1;
    }
    open_section = key.path.substr(0, start);
    std::string value = key.get();
    yaml += fmt::format("{}{}: {}\n", std::string(2 * depth, ' '), key.path.substr(start),
                        key.is_text ? yaml_quoted(value) : value);
  }
  return yaml;
}

}  // namespace spq::data
