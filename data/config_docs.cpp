#include "data/config_docs.h"

#include <fmt/format.h>

namespace spq::data {
namespace {

std::string section_of(const Key& key) {
  return key.path.substr(0, key.path.find('.'));
}

/// A top-level key stands in the first table, every other one in that of its section.
std::string heading_of(const Key& key) {
  return key.path.find('.') == std::string::npos ? "Files" : fmt::format("`{}`", section_of(key));
}

std::string default_of(const Key& key) {
  if (key.required) return "none: required";
  std::string value = key.get();
  return value.empty() ? "empty" : fmt::format("`{}`", value);
}

const char* resume_of(const Key& key) {
  switch (key.on_resume) {
    case OnResume::kMustMatch:
      return "no";
    case OnResume::kMustMatchUnlessConstant:
      return "if constant";
    case OnResume::kMayChange:
      return "yes";
  }
  return "";
}

/// Markdown tables split cells at '|', even between backquotes.
std::string cell(const std::string& text) {
  std::string result;
  for (char c : text) result += c == '|' ? std::string("\\|") : std::string(1, c);
  return result;
}

}  // namespace

std::string config_tables(std::span<const Key> keys, ResumeColumn resume) {
  bool shown = resume == ResumeColumn::kShow;
  std::string tables, heading;
  for (const Key& key : keys) {
    if (heading_of(key) != heading) {
      heading = heading_of(key);
      tables += fmt::format("\n## {}\n\n| key | type | values | unit | default | {}meaning |\n", heading,
                            shown ? "resume | " : "");
      tables += shown ? "|---|---|---|---|---|---|---|\n" : "|---|---|---|---|---|---|\n";
    }
    tables +=
        fmt::format("| `{}` | {} | {} | {} | {} | {}{} |\n", key.path, key.type, cell(key.allowed), key.unit,
                    default_of(key), shown ? fmt::format("{} | ", resume_of(key)) : "", cell(key.doc));
  }
  return tables;
}

}  // namespace spq::data
