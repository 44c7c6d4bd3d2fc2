// Configuration keys of the activation quantizers: the same in every program.
#pragma once

#include <vector>

#include "data/config_key.h"
#include "model/quant_config.h"

namespace spq::model {

/// quant.activation.*, quant.key.*, quant.value.*, bound to `quant`, which must outlive them.
void append_quant_keys(std::vector<data::Key>& keys, QuantConfig& quant);

}  // namespace spq::model
