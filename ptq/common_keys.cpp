#include "ptq/common_keys.h"

#include "model/quant_keys.h"

namespace spq::ptq {

void append_quant_keys(std::vector<data::Key>& keys, model::QuantConfig& quant) {
  model::append_quantizer_keys(keys, "quant.activation", "inputs of the projections", quant.activation);
  model::append_quantizer_keys(keys, "quant.key", "keys after RoPE", quant.key);
  model::append_quantizer_keys(keys, "quant.value", "outputs of v_proj", quant.value);
}

void append_compute_keys(std::vector<data::Key>& keys, bool& fp32, int64_t& threads) {
  keys.push_back(data::choice_key({.path = "compute.dtype", .doc = "Dtype to compute in."}, fp32,
                                  std::vector<data::Choice<bool>>{{"fp32", true}, {"bf16", false}}));
  keys.push_back(data::integer_key({.path = "compute.threads",
                                    .unit = "threads",
                                    .doc = "Threads of each rank; 0: the host's cores divided by its ranks."},
                                   threads, data::at_least(0)));
}

}  // namespace spq::ptq
