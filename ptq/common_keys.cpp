#include "ptq/common_keys.h"

#include "model/device_key.h"

namespace spq::ptq {

void append_compute_keys(std::vector<data::Key>& keys, ComputeConfig& compute) {
  keys.push_back(model::device_key(
      compute.device,
      "spq-eval computes all of it there. spq-ptq: the network while calibrating and evaluating, and sums of "
      "calibration moments; merging, the factors of Hessians and the rounding of weights stay on the CPU. "
      "What "
      "is finished on one kind of device may be gone on with on the other, not bit for bit."));
  keys.push_back(data::choice_key({.path = "compute.dtype", .doc = "Dtype to compute in."}, compute.fp32,
                                  std::vector<data::Choice<bool>>{{"fp32", true}, {"bf16", false}}));
  keys.push_back(data::integer_key({.path = "compute.threads",
                                    .unit = "threads",
                                    .doc = "Threads of each rank; 0: the host's cores divided by its ranks."},
                                   compute.threads, data::at_least(0)));
  keys.push_back(data::number_key(
      {.path = "compute.collective_timeout",
       .unit = "seconds",
       .doc =
           "The run ends with an error that names the rank when one does not take part in a collective for "
           "this long; 0: wait for ever."},
      compute.collective_timeout, data::zero_or_more()));
}

}  // namespace spq::ptq
