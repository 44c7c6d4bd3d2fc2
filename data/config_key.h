// A configuration key: its place in the YAML file, its meaning, its legal values, and the field it is bound
// to. A program lists its keys once; reading, writing, --set, range checks and documentation follow from the
// list (data/config_yaml.h, data/config_lookup.h, data/config_docs.h).
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace spq::data {

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

/// Bound to a field that must outlive it and stay in its place. Copies are bound to the same field.
struct Key : KeyInfo {
  std::string type = {};     // integer, number, boolean, text, path or choice
  std::string allowed = {};  // legal values in words, for messages and docs
  bool is_text = false;      // config_to_yaml has to put it in quotes

  /// The value as it is written in YAML, without quotes. Numbers round-trip exactly.
  std::function<std::string()> get = {};

  /// Sets the field from the same form; false, with the field unchanged, when the text is no legal value.
  std::function<bool(const std::string&)> set = {};
};

/// A set of numbers and its description.
template <class T>
struct Values {
  std::string text;
  std::function<bool(T)> contain;
};

Values<int64_t> at_least(int64_t low);
Values<double> zero_or_more();
Values<double> above_zero();
Values<int64_t> bit_widths();   // 2 to 8, or 16: not quantized
Values<int64_t> group_sizes();  // -1: the whole row
Values<double> clip_ratios();

Key integer_key(KeyInfo info, int64_t& field, Values<int64_t> values);

/// Finite numbers only.
Key number_key(KeyInfo info, double& field, Values<double> values);

/// Any text but the empty one; `allowed` says what it means.
Key text_key(KeyInfo info, std::string& field, std::string allowed);

/// The path of a file or directory; the empty one is legal unless the key is required.
Key path_key(KeyInfo info, std::string& field, std::string allowed);

/// A legal value of a choice key.
template <class T>
struct Choice {
  std::string name;
  T value;
};

template <class T>
Key choice_key(KeyInfo info, T& field, std::vector<Choice<T>> choices) {
  Key key{std::move(info)};
  key.type = "choice";
  for (const Choice<T>& choice : choices) key.allowed += (key.allowed.empty() ? "" : ", ") + choice.name;
  key.get = [&field, choices] {
    for (const Choice<T>& choice : choices) {
      if (choice.value == field) return choice.name;
    }
    return std::string("(no legal value)");
  };
  key.set = [&field, choices](const std::string& text) {
    for (const Choice<T>& choice : choices) {
      if (choice.name != text) continue;
      field = choice.value;
      return true;
    }
    return false;
  };
  return key;
}

Key boolean_key(KeyInfo info, bool& field);

/// The names under which a fixed Hadamard transform is switched on and off.
std::vector<Choice<bool>> hadamard_or_identity();

}  // namespace spq::data
