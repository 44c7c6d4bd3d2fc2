// Configuration keys that spq-ptq and spq-eval share.
#pragma once

#include <cstdint>
#include <vector>

#include "core/compute_device.h"
#include "data/config_key.h"

namespace spq::ptq {

struct ComputeConfig {
  ComputeDevice device = ComputeDevice::kAuto;
  bool fp32 = true;  // false: bf16
  int64_t threads = 0;
  double collective_timeout = 1800;  // seconds; 0: none
};

/// compute.device, compute.dtype, compute.threads and compute.collective_timeout, bound to `compute`.
void append_compute_keys(std::vector<data::Key>& keys, ComputeConfig& compute);

}  // namespace spq::ptq
