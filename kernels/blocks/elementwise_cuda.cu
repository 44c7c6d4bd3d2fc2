#include "kernels/blocks/cross_entropy_kernel.h"
#include "kernels/blocks/cuda_launcher.cuh"
#include "kernels/blocks/rope_kernel.h"
#include "kernels/blocks/swiglu_kernel.h"

namespace spq::kernels::blocks {

template LaunchResult launch_rope<float, CudaLauncher>(const CudaLauncher&, float*, const float*,
                                                       const float*, int64_t, int64_t, int64_t,
                                                       RopeDirection);
template LaunchResult launch_swiglu<float, CudaLauncher>(const CudaLauncher&, const float*, const float*,
                                                         float*, int64_t);
template LaunchResult launch_swiglu_backward<float, CudaLauncher>(const CudaLauncher&, const float*,
                                                                  const float*, const float*, float*, float*,
                                                                  int64_t);
template LaunchResult launch_cross_entropy<float, CudaLauncher>(const CudaLauncher&, float*, const int64_t*,
                                                                double*, int64_t, int64_t, double);
template LaunchResult launch_rope<bfloat16, CudaLauncher>(const CudaLauncher&, bfloat16*, const float*,
                                                          const float*, int64_t, int64_t, int64_t,
                                                          RopeDirection);
template LaunchResult launch_swiglu<bfloat16, CudaLauncher>(const CudaLauncher&, const bfloat16*,
                                                            const bfloat16*, bfloat16*, int64_t);
template LaunchResult launch_swiglu_backward<bfloat16, CudaLauncher>(const CudaLauncher&, const bfloat16*,
                                                                     const bfloat16*, const bfloat16*,
                                                                     bfloat16*, bfloat16*, int64_t);
template LaunchResult launch_cross_entropy<bfloat16, CudaLauncher>(const CudaLauncher&, bfloat16*,
                                                                   const int64_t*, double*, int64_t, int64_t,
                                                                   double);

}  // namespace spq::kernels::blocks
