// What to change when a run does not fit.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "trainer/memory_plan.h"

namespace spq::trainer {

/// Changes that make the run fit into `available` bytes per rank, in words with the bytes a rank then needs:
/// each that suffices alone, or all of them together where none does. Empty: not even that.
std::vector<std::string> ways_to_fit(const data::LlamaConfig& model, const Config& config,
                                     const ElementSizes& bytes, const Placement& placement,
                                     int64_t available);

}  // namespace spq::trainer
