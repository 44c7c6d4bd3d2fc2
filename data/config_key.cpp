#include "data/config_key.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <optional>

namespace spq::data {
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
Key numeric_key(KeyInfo info, T& field, Values<T> values) {
  Key key{std::move(info)};
  key.allowed = values.text;
  key.get = [&field] { return fmt::format("{}", field); };
  key.set = [&field, values](const std::string& text) {
    std::optional<T> value = parse<T>(text);
    if (!value || !std::isfinite(static_cast<double>(*value)) || !values.contain(*value)) return false;
    field = *value;
    return true;
  };
  return key;
}

Key string_key(KeyInfo info, std::string& field, bool may_be_empty) {
  Key key{std::move(info)};
  key.is_text = true;
  key.get = [&field] { return field; };
  key.set = [&field, may_be_empty](const std::string& text) {
    if (text.empty() && !may_be_empty) return false;
    field = text;
    return true;
  };
  return key;
}

}  // namespace

Values<int64_t> at_least(int64_t low) {
  return {fmt::format("{} or more", low), [low](int64_t value) { return value >= low; }};
}

Values<double> zero_or_more() {
  return {"0 or more", [](double value) { return value >= 0; }};
}

Values<double> above_zero() {
  return {"above 0", [](double value) { return value > 0; }};
}

Values<int64_t> bit_widths() {
  return {"2 to 8, or 16", [](int64_t bits) { return (bits >= 2 && bits <= 8) || bits == 16; }};
}

Values<int64_t> group_sizes() {
  return {"-1, or 2 or more", [](int64_t size) { return size == -1 || size >= 2; }};
}

Values<double> clip_ratios() {
  return {"above 0, at most 1", [](double ratio) { return ratio > 0 && ratio <= 1; }};
}

Key integer_key(KeyInfo info, int64_t& field, Values<int64_t> values) {
  Key key = numeric_key(std::move(info), field, std::move(values));
  key.type = "integer";
  return key;
}

Key number_key(KeyInfo info, double& field, Values<double> values) {
  Key key = numeric_key(std::move(info), field, std::move(values));
  key.type = "number";
  return key;
}

Key text_key(KeyInfo info, std::string& field, std::string allowed) {
  Key key = string_key(std::move(info), field, /*may_be_empty=*/false);
  key.type = "text";
  key.allowed = std::move(allowed);
  return key;
}

Key path_key(KeyInfo info, std::string& field, std::string allowed) {
  bool may_be_empty = !info.required;
  Key key = string_key(std::move(info), field, may_be_empty);
  key.type = "path";
  key.allowed = std::move(allowed);
  return key;
}

Key boolean_key(KeyInfo info, bool& field) {
  Key key = choice_key<bool>(std::move(info), field, {{"true", true}, {"false", false}});
  key.type = "boolean";
  return key;
}

std::vector<Choice<bool>> hadamard_or_identity() {
  return {{"hadamard", true}, {"identity", false}};
}

}  // namespace spq::data
