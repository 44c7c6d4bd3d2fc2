#include "kernels/blocks/cuda_launcher.cuh"
#include "kernels/blocks/hadamard_kernel.h"

namespace spq::kernels::blocks {

template LaunchResult launch_hadamard<float, CudaLauncher>(const CudaLauncher&, const float*, float*, int64_t,
                                                           const HadamardPlan&, HadamardDirection);
template LaunchResult launch_hadamard_quant<float, CudaLauncher>(const CudaLauncher&, const float*, float*,
                                                                 float*, int64_t, const HadamardPlan&,
                                                                 const QuantSpec&);
template LaunchResult launch_hadamard<bfloat16, CudaLauncher>(const CudaLauncher&, const bfloat16*, bfloat16*,
                                                              int64_t, const HadamardPlan&,
                                                              HadamardDirection);
template LaunchResult launch_hadamard_quant<bfloat16, CudaLauncher>(const CudaLauncher&, const bfloat16*,
                                                                    bfloat16*, bfloat16*, int64_t,
                                                                    const HadamardPlan&, const QuantSpec&);

}  // namespace spq::kernels::blocks
