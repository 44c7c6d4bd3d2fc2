// The types a configuration key can have; used by the table in config_keys.cpp only.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "trainer/config_keys.h"

namespace spq::trainer {

/// Where a key's value lives.
template <class T>
struct Field {
  std::function<const T&(const Config&)> read;
  std::function<T&(Config&)> write;
};

/// field(&Config::optimizer, &OptimizerConfig::steps) is config.optimizer.steps.
template <class... Members>
auto field(Members... members) {
  using T = std::remove_cvref_t<decltype((std::declval<Config&>().*....*members))>;
  return Field<T>{[members...](const Config& config) -> const T& { return (config.*....*members); },
                  [members...](Config& config) -> T& { return (config.*....*members); }};
}

/// A set of numbers and its description.
template <class T>
struct Values {
  std::string text;
  std::function<bool(T)> contain;
};

Key integer_key(KeyInfo info, Field<int64_t> where, Values<int64_t> values);

/// Finite numbers only.
Key number_key(KeyInfo info, Field<double> where, Values<double> values);

/// Any text but the empty one; `allowed` says what it means.
Key text_key(KeyInfo info, Field<std::string> where, std::string allowed);

/// The path of a file or directory; the empty one is legal unless the key is required.
Key path_key(KeyInfo info, Field<std::string> where, std::string allowed);

template <class T>
struct Choice {
  std::string name;
  T value;
};

template <class T>
Key choice_key(KeyInfo info, Field<T> where, std::vector<Choice<T>> choices) {
  Key key{std::move(info)};
  key.type = "choice";
  for (const Choice<T>& choice : choices) key.allowed += (key.allowed.empty() ? "" : ", ") + choice.name;
  key.get = [where, choices](const Config& config) {
    for (const Choice<T>& choice : choices) {
      if (choice.value == where.read(config)) return choice.name;
    }
    return std::string("(no legal value)");
  };
  key.set = [where, choices](Config& config, const std::string& text) {
    for (const Choice<T>& choice : choices) {
      if (choice.name != text) continue;
      where.write(config) = choice.value;
      return true;
    }
    return false;
  };
  return key;
}

Key boolean_key(KeyInfo info, Field<bool> where);

}  // namespace spq::trainer
