#include "kernels/blocks/hadamard_kernel.h"
#include "kernels/blocks/host_launcher.h"

namespace spq::kernels::blocks {

template LaunchResult launch_hadamard<float, HostLauncher>(const HostLauncher&, const float*, float*, int64_t,
                                                           const HadamardPlan&, HadamardDirection);
template LaunchResult launch_hadamard_quant<float, HostLauncher>(const HostLauncher&, const float*, float*,
                                                                 float*, int64_t, const HadamardPlan&,
                                                                 const QuantSpec&);
template LaunchResult launch_hadamard<bfloat16, HostLauncher>(const HostLauncher&, const bfloat16*, bfloat16*,
                                                              int64_t, const HadamardPlan&,
                                                              HadamardDirection);
template LaunchResult launch_hadamard_quant<bfloat16, HostLauncher>(const HostLauncher&, const bfloat16*,
                                                                    bfloat16*, bfloat16*, int64_t,
                                                                    const HadamardPlan&, const QuantSpec&);

}  // namespace spq::kernels::blocks
