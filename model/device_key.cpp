#include "model/device_key.h"

#include <vector>

namespace spq::model {

data::Key device_key(ComputeDevice& device, const std::string& more) {
  using enum ComputeDevice;
  return data::choice_key(
      {.path = "compute.device",
       .doc =
           "Where to compute; auto: on NVIDIA GPUs where every rank can have one, else on the CPU, which is "
           "said. cuda: an error where that is not possible. " +
           more},
      device, std::vector<data::Choice<ComputeDevice>>{{"auto", kAuto}, {"cpu", kCpu}, {"cuda", kCuda}});
}

}  // namespace spq::model
