#include "kernels/blocks/host_launcher.h"
#include "kernels/blocks/quant_kernel.h"

namespace spq::kernels::blocks {

template LaunchResult launch_fake_quant<float, HostLauncher>(const HostLauncher&, const float*, float*,
                                                             float*, int64_t, int64_t, const QuantSpec&);
template LaunchResult launch_fake_quant<bfloat16, HostLauncher>(const HostLauncher&, const bfloat16*,
                                                                bfloat16*, bfloat16*, int64_t, int64_t,
                                                                const QuantSpec&);

}  // namespace spq::kernels::blocks
