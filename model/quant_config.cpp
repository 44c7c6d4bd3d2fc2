#include "model/quant_config.h"

#include "model/layer.h"

namespace spq::model {
namespace {

kernels::QuantSpec spec(const QuantizerConfig& q, int64_t group_size, bool range_includes_zero) {
  return {static_cast<int>(q.bits), q.symmetric, group_size, range_includes_zero, q.clip_ratio};
}

}  // namespace

QuantScheme quant_scheme(const QuantConfig& q) {
  const bool whole_row = q.activation.group_size < 0;
  QuantScheme scheme;
  scheme.residual_input = spec(q.activation, q.activation.group_size, whole_row);
  scheme.down_input = spec(q.activation, q.activation.group_size, whole_row);
  // One group for each head, whatever the group size of the other activations.
  scheme.attention_output = spec(q.activation, /*group_size=*/-1, /*range_includes_zero=*/false);
  scheme.key = spec(q.key, q.key.group_size, q.key.group_size < 0);
  scheme.value = spec(q.value, q.value.group_size, /*range_includes_zero=*/false);
  return scheme;
}

}  // namespace spq::model
