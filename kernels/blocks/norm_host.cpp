#include "kernels/blocks/host_launcher.h"
#include "kernels/blocks/norm_gradient_kernel.h"
#include "kernels/blocks/norm_groups_kernel.h"
#include "kernels/blocks/norm_kernel.h"

namespace spq::kernels::blocks {

template LaunchResult launch_rms_norm<float, HostLauncher>(const HostLauncher&, const float*, float*, int64_t,
                                                           int64_t, double);
template LaunchResult launch_rms_norm_quant<float, HostLauncher>(const HostLauncher&, const float*, float*,
                                                                 float*, int64_t, int64_t, double,
                                                                 const QuantSpec&);
template LaunchResult launch_rms_norm_backward_add<float, HostLauncher>(const HostLauncher&, const float*,
                                                                        const float*, float*, int64_t,
                                                                        int64_t, double);
template LaunchResult launch_rms_norm<bfloat16, HostLauncher>(const HostLauncher&, const bfloat16*, bfloat16*,
                                                              int64_t, int64_t, double);
template LaunchResult launch_rms_norm_quant<bfloat16, HostLauncher>(const HostLauncher&, const bfloat16*,
                                                                    bfloat16*, bfloat16*, int64_t, int64_t,
                                                                    double, const QuantSpec&);
template LaunchResult launch_rms_norm_backward_add<bfloat16, HostLauncher>(const HostLauncher&,
                                                                           const bfloat16*, const bfloat16*,
                                                                           bfloat16*, int64_t, int64_t,
                                                                           double);

}  // namespace spq::kernels::blocks
