// Configuration keys of an activation quantizer: the same in every program.
#pragma once

#include <string>
#include <vector>

#include "data/config_key.h"
#include "model/quant_config.h"

namespace spq::model {

/// Appends the four keys of the section `section`, bound to `quantizer`, which must outlive them. `point`
/// says in words which numbers it quantizes.
void append_quantizer_keys(std::vector<data::Key>& keys, const std::string& section, const std::string& point,
                           QuantizerConfig& quantizer);

}  // namespace spq::model
