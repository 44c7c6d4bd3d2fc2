// The configuration key that says where a program computes: the same in every program.
#pragma once

#include <string>

#include "data/config_key.h"

namespace spq::model {

/// kAuto: a GPU where every rank can have one, else the CPU.
enum class ComputeDevice { kAuto, kCpu, kCuda };

/// compute.device, bound to `device`, which must outlive it. `more` ends its documentation: what else of this
/// program there is to say.
data::Key device_key(ComputeDevice& device, const std::string& more);

}  // namespace spq::model
