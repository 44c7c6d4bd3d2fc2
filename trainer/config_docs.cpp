#include "trainer/config_docs.h"

#include "data/config_docs.h"
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
- `eval.every` and `eval.sequences` above 0, and `eval.channel_magnitudes`, need `data.heldout`.
)";

}  // namespace

std::string configuration_page() {
  Config defaults;
  return kIntroduction + data::config_tables(bind_keys(defaults), data::ResumeColumn::kShow);
}

}  // namespace spq::trainer
