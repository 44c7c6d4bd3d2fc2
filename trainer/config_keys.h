// Every configuration key, once: its place in the YAML file, its meaning, its legal values and its field in
// Config. Reading, writing, --set, range checks, resume rules and docs/configuration.md all come from this
// table.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "trainer/config.h"

namespace spq::trainer {

/// What a changed value means for a run that is resumed.
enum class OnResume {
  kMustMatch,
  kMustMatchUnlessConstant,  // may change while the schedule is constant, before and after
  kMayChange,
};

/// Attributes of a key that do not depend on its type.
struct KeyInfo {
  std::string path = {};  // dotted, for example quant.activation.bits
  std::string unit = {};  // empty: none
  std::string doc = {};   // one sentence
  OnResume on_resume = OnResume::kMayChange;
  bool required = false;  // has no default and must not be empty
};

struct Key : KeyInfo {
  std::string type = {};     // integer, number, boolean, text, path or choice
  std::string allowed = {};  // legal values in words, for messages and docs
  bool is_text = false;      // to_yaml has to put it in quotes

  /// The value as it is written in YAML, without quotes. Numbers round-trip exactly.
  std::function<std::string(const Config&)> get = {};

  /// Sets the field from the same form; false, with the field unchanged, when the text is no legal value.
  std::function<bool(Config&, const std::string&)> set = {};
};

/// The table, in the order of the documentation; keys of one section stand together.
const std::vector<Key>& config_keys();

/// The key with this dotted path, or nullptr.
const Key* find_key(std::string_view path);

/// True for the path of a map of keys, for example quant or quant.activation.
bool is_section(std::string_view path);

/// "; did you mean optimizer.steps?" or, when no key or section resembles `path`, a pointer to the
/// documentation.
std::string key_suggestion(const std::string& path);

/// "key is 'found', expected integer: 0 or more".
std::string value_error(const Key& key, std::string_view found);

}  // namespace spq::trainer
