#include "kernels/blocks/cross_entropy_kernel.h"
#include "kernels/blocks/host_launcher.h"
#include "kernels/blocks/rope_kernel.h"
#include "kernels/blocks/swiglu_kernel.h"

namespace spq::kernels::blocks {

template LaunchResult launch_rope<float, HostLauncher>(const HostLauncher&, float*, const float*,
                                                       const float*, int64_t, int64_t, int64_t,
                                                       RopeDirection);
template LaunchResult launch_swiglu<float, HostLauncher>(const HostLauncher&, const float*, const float*,
                                                         float*, int64_t);
template LaunchResult launch_swiglu_backward<float, HostLauncher>(const HostLauncher&, const float*,
                                                                  const float*, const float*, float*, float*,
                                                                  int64_t);
template LaunchResult launch_cross_entropy<float, HostLauncher>(const HostLauncher&, float*, const int64_t*,
                                                                double*, int64_t, int64_t, double);
template LaunchResult launch_rope<bfloat16, HostLauncher>(const HostLauncher&, bfloat16*, const float*,
                                                          const float*, int64_t, int64_t, int64_t,
                                                          RopeDirection);
template LaunchResult launch_swiglu<bfloat16, HostLauncher>(const HostLauncher&, const bfloat16*,
                                                            const bfloat16*, bfloat16*, int64_t);
template LaunchResult launch_swiglu_backward<bfloat16, HostLauncher>(const HostLauncher&, const bfloat16*,
                                                                     const bfloat16*, const bfloat16*,
                                                                     bfloat16*, bfloat16*, int64_t);
template LaunchResult launch_cross_entropy<bfloat16, HostLauncher>(const HostLauncher&, bfloat16*,
                                                                   const int64_t*, double*, int64_t, int64_t,
                                                                   double);

}  // namespace spq::kernels::blocks
