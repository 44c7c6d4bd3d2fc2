// The configuration key that says where a program computes: the same in every program.
#pragma once

#include <string>

#include "core/compute_device.h"
#include "data/config_key.h"

namespace spq::model {

/// compute.device, bound to `device`, which must outlive it. `more` ends its documentation: what else of this
/// program there is to say.
data::Key device_key(ComputeDevice& device, const std::string& more);

}  // namespace spq::model
