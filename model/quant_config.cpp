#include "model/quant_config.h"

#include "core/error.h"
#include "model/layer.h"

namespace spq::model {
namespace {

kernels::QuantSpec spec(const QuantizerConfig& q, int64_t group_size, bool range_includes_zero) {
  return {static_cast<int>(q.bits), q.symmetric, group_size, range_includes_zero, q.clip_ratio};
}

}  // namespace

void check_groups(const QuantConfig& quant, const data::LlamaConfig& model) {
  const auto check_one = [](const char* key, const QuantizerConfig& q, int64_t bits, int64_t row,
                            const char* what) {
    check(bits >= 16 || q.group_size < 0 || row % q.group_size == 0,
          "{}.group_size is {}, which does not divide the model's {} {}", key, q.group_size, what, row);
  };
  const QuantizerConfig& a = quant.activation;
  check_one("quant.activation", a, a.bits, model.hidden_size, "hidden_size");
  check_one("quant.activation", a, quant.down_bits > 0 ? quant.down_bits : a.bits, model.intermediate_size,
            "intermediate_size");
  check_one("quant.key", quant.key, quant.key.bits, model.head_dim, "head_dim");
  check_one("quant.value", quant.value, quant.value.bits, model.head_dim, "head_dim");
}

QuantScheme quant_scheme(const QuantConfig& q) {
  const bool whole_row = q.activation.group_size < 0;
  QuantScheme scheme;
  scheme.residual_input = spec(q.activation, q.activation.group_size, whole_row);
  scheme.down_input = scheme.residual_input;
  if (q.down_bits > 0) scheme.down_input.bits = static_cast<int>(q.down_bits);
  // One group for each head, whatever the group size of the other activations.
  scheme.attention_output = spec(q.activation, /*group_size=*/-1, /*range_includes_zero=*/false);
  scheme.key = spec(q.key, q.key.group_size, q.key.group_size < 0);
  scheme.value = spec(q.value, q.value.group_size, /*range_includes_zero=*/false);
  return scheme;
}

}  // namespace spq::model
