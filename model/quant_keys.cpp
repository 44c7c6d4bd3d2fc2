#include "model/quant_keys.h"

#include <fmt/format.h>

namespace spq::model {

void append_quantizer_keys(std::vector<data::Key>& keys, const std::string& section, const std::string& point,
                           QuantizerConfig& quantizer) {
  using enum data::OnResume;
  keys.push_back(data::integer_key(
      {.path = section + ".bits",
       .unit = "bits",
       .doc = fmt::format("Width of {}; 16: not quantized, and the other keys here have no effect.", point),
       .on_resume = kMustMatch},
      quantizer.bits, data::bit_widths()));
  keys.push_back(data::boolean_key({.path = section + ".symmetric",
                                    .doc = "Levels symmetric around zero; false: with a zero point.",
                                    .on_resume = kMustMatch},
                                   quantizer.symmetric));
  keys.push_back(data::integer_key({.path = section + ".group_size",
                                    .unit = "values",
                                    .doc = "Neighbours that share a scale; -1: one scale for the whole row.",
                                    .on_resume = kMustMatch},
                                   quantizer.group_size, data::group_sizes()));
  keys.push_back(data::number_key({.path = section + ".clip_ratio",
                                   .doc = "The range is shrunk by this factor before the scale is found.",
                                   .on_resume = kMustMatch},
                                  quantizer.clip_ratio, data::clip_ratios()));
}

}  // namespace spq::model
