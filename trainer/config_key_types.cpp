#include "trainer/config_key_types.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <optional>

namespace spq::trainer {
namespace {

/// The whole text as a number, or nothing.
template <class T>
std::optional<T> parse(const std::string& text) {
  T value{};
  const char* end = text.data() + text.size();
  auto [stopped, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || stopped != end) return std::nullopt;
  return value;
}

template <class T>
Key numeric_key(KeyInfo info, Field<T> where, Values<T> values) {
  Key key{std::move(info)};
  key.allowed = values.text;
  key.get = [where](const Config& config) { return fmt::format("{}", where.read(config)); };
  key.set = [where, values](Config& config, const std::string& text) {
    std::optional<T> value = parse<T>(text);
    if (!value || !std::isfinite(static_cast<double>(*value)) || !values.contain(*value)) return false;
    where.write(config) = *value;
    return true;
  };
  return key;
}

Key string_key(KeyInfo info, Field<std::string> where, bool may_be_empty) {
  Key key{std::move(info)};
  key.is_text = true;
  key.get = [where](const Config& config) { return where.read(config); };
  key.set = [where, may_be_empty](Config& config, const std::string& text) {
    if (text.empty() && !may_be_empty) return false;
    where.write(config) = text;
    return true;
  };
  return key;
}

}  // namespace

Key integer_key(KeyInfo info, Field<int64_t> where, Values<int64_t> values) {
  Key key = numeric_key(std::move(info), std::move(where), std::move(values));
  key.type = "integer";
  return key;
}

Key number_key(KeyInfo info, Field<double> where, Values<double> values) {
  Key key = numeric_key(std::move(info), std::move(where), std::move(values));
  key.type = "number";
  return key;
}

Key text_key(KeyInfo info, Field<std::string> where, std::string allowed) {
  Key key = string_key(std::move(info), std::move(where), /*may_be_empty=*/false);
  key.type = "text";
  key.allowed = std::move(allowed);
  return key;
}

Key path_key(KeyInfo info, Field<std::string> where, std::string allowed) {
  bool may_be_empty = !info.required;
  Key key = string_key(std::move(info), std::move(where), may_be_empty);
  key.type = "path";
  key.allowed = std::move(allowed);
  return key;
}

Key boolean_key(KeyInfo info, Field<bool> where) {
  Key key = choice_key<bool>(std::move(info), std::move(where), {{"true", true}, {"false", false}});
  key.type = "boolean";
  return key;
}

}  // namespace spq::trainer
