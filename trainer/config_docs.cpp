#include "trainer/config_docs.h"

#include <fmt/format.h>

#include "trainer/config_keys.h"

namespace spq::trainer {
namespace {

constexpr const char* kIntroduction = R"(# Configuration of spq-train

Generated from the key table; do not edit. After a change of the table:

    build/release/spq_config_docs > docs/configuration.md

A configuration is one YAML file. `rotation.r1` in the tables below means

```yaml
rotation:
  r1: learned
```

Keys that are not in the file have their default. Unknown keys, keys given twice, values of another type and values
out of range are errors that name the line. `--set key=value` after the file name changes one key, with the dotted
name; of several for the same key the last one wins. `--check` stops after all checks.

Relative paths start at the directory in which spq-train is started, not at the configuration file: start it in the
root of the repository to use the files in `configs/`.

The column "resume" says whether a run may be resumed after the key was changed. `if constant`: yes while
`optimizer.schedule` is `constant`.

## Rules between keys

- `rotation.start` other than its default needs `rotation.r1` or `rotation.r2` to be `learned`.
- `rotation.file` is given exactly when `rotation.r1`, `rotation.r2` or `rotation.start` is `file`.
- `optimizer.steps` above 0 needs a learned rotation, and one that meets a quantizer: `rotation.r1` meets those of
  `quant.activation`, `rotation.r2` also those of `quant.value`.
- `batch.micro_batch` is at most `batch.sequences`.
- `eval.every` and `eval.sequences` above 0 need `data.heldout`.
)";

std::string section_of(const Key& key) {
  return key.path.substr(0, key.path.find('.'));
}

/// A top-level key stands in the first table, every other one in that of its section.
std::string heading_of(const Key& key) {
  return key.path.find('.') == std::string::npos ? "Files" : fmt::format("`{}`", section_of(key));
}

std::string default_of(const Key& key) {
  if (key.required) return "none: required";
  std::string value = key.get(Config{});
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

std::string configuration_page() {
  std::string page = kIntroduction, heading;
  for (const Key& key : config_keys()) {
    if (heading_of(key) != heading) {
      heading = heading_of(key);
      page +=
          fmt::format("\n## {}\n\n| key | type | values | unit | default | resume | meaning |\n", heading);
      page += "|---|---|---|---|---|---|---|\n";
    }
    page += fmt::format("| `{}` | {} | {} | {} | {} | {} | {} |\n", key.path, key.type, cell(key.allowed),
                        key.unit, default_of(key), resume_of(key), cell(key.doc));
  }
  return page;
}

}  // namespace spq::trainer
