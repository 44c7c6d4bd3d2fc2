#include "ptq/config_docs.h"

#include "data/config_docs.h"
#include "ptq/eval_config.h"
#include "ptq/ptq_config.h"

namespace spq::ptq {
namespace {

constexpr const char* kIntroduction = R"(# Configuration of spq-ptq and spq-eval

Generated from the key tables; do not edit. After a change of a table:

    build/release/spq_ptq_config_docs > docs/configuration-ptq.md

The form of the files, `--set key=value` and `--check` are as for spq-train ([configuration.md](configuration.md)); relative paths
start at the directory in which the program is started.

# spq-ptq

Rules between keys:

- `weights.method` gptq and gptaq need `calibration.tokens`.
- `rotate.file` is given exactly when `rotate.r1` or `rotate.r2` is `file`.
- A model that spq-ptq has transformed before is not rotated again: `rotate.r1` and `rotate.r2` stay `identity`, `rotate.r4` as it was.
- R4 is folded into down_proj's weights. Runtimes without that online transform need `rotate.r4: identity`.
)";

}  // namespace

std::string configuration_page() {
  PtqConfig ptq;
  EvalConfig eval;
  return kIntroduction + data::config_tables(bind_keys(ptq), data::ResumeColumn::kOmit) + "\n# spq-eval\n" +
         data::config_tables(bind_keys(eval), data::ResumeColumn::kOmit);
}

}  // namespace spq::ptq
