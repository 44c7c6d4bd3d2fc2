#include "data/config_lookup.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "core/error.h"
#include "core/text.h"
#include "data/shown_text.h"

namespace spq::data {
namespace {

std::string leaf_of(const std::string& path) {
  return path.substr(path.rfind('.') + 1);
}

/// Keys and sections, by dotted path.
std::vector<std::string> known_paths(std::span<const Key> keys) {
  std::vector<std::string> paths;
  auto add = [&](const std::string& path) {
    if (std::find(paths.begin(), paths.end(), path) == paths.end()) paths.push_back(path);
  };
  for (const Key& key : keys) {
    for (size_t dot = key.path.find('.'); dot != std::string::npos; dot = key.path.find('.', dot + 1)) {
      add(key.path.substr(0, dot));
    }
    add(key.path);
  }
  return paths;
}

}  // namespace

const Key* find_key(std::span<const Key> keys, std::string_view path) {
  for (const Key& key : keys) {
    if (key.path == path) return &key;
  }
  return nullptr;
}

bool is_section(std::span<const Key> keys, std::string_view path) {
  std::string prefix = fmt::format("{}.", path);
  return std::any_of(keys.begin(), keys.end(), [&](const Key& key) { return key.path.starts_with(prefix); });
}

std::string key_suggestion(std::span<const Key> keys, const std::string& path) {
  // No key is that long, and comparing takes time in proportion to the length.
  constexpr size_t kMaxCompared = 200;
  if (path.size() > kMaxCompared) return "; docs/configuration.md lists the known keys";
  std::vector<std::string> known = known_paths(keys);
  std::optional<std::string> best = nearest(path, known);
  if (!best) {
    // The name may be right and the section wrong or forgotten.
    std::vector<std::string> leaves;
    for (const std::string& name : known) leaves.push_back(leaf_of(name));
    std::optional<std::string> leaf = nearest(leaf_of(path), leaves);
    if (leaf)
      best = known[static_cast<size_t>(std::find(leaves.begin(), leaves.end(), *leaf) - leaves.begin())];
  }
  if (!best) return "; docs/configuration.md lists the known keys";
  return fmt::format("; did you mean {}?", *best);
}

std::string value_error(const Key& key, std::string_view found) {
  return fmt::format("{} is '{}', expected {}: {}", key.path, shown(found), key.type, key.allowed);
}

void check_values(std::span<const Key> keys) {
  for (const Key& key : keys) {
    std::string value = key.get();
    check(key.set(value), "{}", value_error(key, value));
  }
}

}  // namespace spq::data
