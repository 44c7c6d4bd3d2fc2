#include "kernels/blocks/cuda_launcher.cuh"
#include "kernels/blocks/quant_kernel.h"

namespace spq::kernels::blocks {

template LaunchResult launch_fake_quant<float, CudaLauncher>(const CudaLauncher&, const float*, float*,
                                                             float*, int64_t, int64_t, const QuantSpec&);
template LaunchResult launch_fake_quant<bfloat16, CudaLauncher>(const CudaLauncher&, const bfloat16*,
                                                                bfloat16*, bfloat16*, int64_t, int64_t,
                                                                const QuantSpec&);

}  // namespace spq::kernels::blocks
