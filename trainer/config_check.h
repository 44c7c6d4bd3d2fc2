// Rules between configuration keys, and which keys must not change when a run is resumed.
#pragma once

#include <optional>
#include <string>

#include "trainer/config.h"

namespace spq::trainer {

/// Error naming the keys when a value is out of its range or keys contradict each other. Looks at no file.
void validate(const Config& config);

/// The first key whose change would make a resumed run another run, with both values, for example
/// "optimizer.learning_rate was '1.5' and is '0.5'"; none when the run may go on. Paths are compared after
/// removing
/// "./", "//" and a final "/".
std::optional<std::string> first_difference_that_matters(const Config& saved, const Config& now);

}  // namespace spq::trainer
