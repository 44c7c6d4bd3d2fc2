#include "model/quant_keys.h"

#include <fmt/format.h>

namespace spq::model {
namespace {

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

data::Values<int64_t> down_bits() {
  return {"0 (as quant.activation.bits), 2 to 8, or 16",
          [](int64_t bits) { return bits == 0 || (bits >= 2 && bits <= 8) || bits == 16; }};
}

}  // namespace

void append_quant_keys(std::vector<data::Key>& keys, QuantConfig& quant) {
  append_quantizer_keys(keys, "quant.activation", "the inputs of all projections", quant.activation);
  keys.push_back(data::integer_key({.path = "quant.activation.down_bits",
                                    .unit = "bits",
                                    .doc = "Width of the input of down_proj, which has the largest outliers.",
                                    .on_resume = data::OnResume::kMustMatch},
                                   quant.down_bits, down_bits()));
  append_quantizer_keys(keys, "quant.key", "keys after RoPE, per token and head", quant.key);
  append_quantizer_keys(keys, "quant.value", "values, per token and head", quant.value);
}

}  // namespace spq::model
