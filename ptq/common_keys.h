// Configuration keys that spq-ptq and spq-eval share.
#pragma once

#include <cstdint>
#include <vector>

#include "data/config_key.h"
#include "model/quant_config.h"

namespace spq::ptq {

/// quant.activation.*, quant.key.*, quant.value.*, bound to `quant`.
void append_quant_keys(std::vector<data::Key>& keys, model::QuantConfig& quant);

/// compute.dtype (fp32 or bf16) and compute.threads, bound to the two fields.
void append_compute_keys(std::vector<data::Key>& keys, bool& fp32, int64_t& threads);

}  // namespace spq::ptq
