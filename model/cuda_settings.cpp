#include "model/cuda_settings.h"

#include <ATen/Context.h>

namespace spq::model {

void use_exact_cuda_products() {
  at::Context& context = at::globalContext();
  context.setAllowTF32CuBLAS(false);
  context.setAllowBF16ReductionCuBLAS(false);
  context.setAllowFP16ReductionCuBLAS(false);
}

FixedOrderAttention::FixedOrderAttention()
    : deterministic_(at::globalContext().deterministicAlgorithms()),
      warn_only_(at::globalContext().deterministicAlgorithmsWarnOnly()),
      fills_memory_(at::globalContext().deterministicFillUninitializedMemory()) {
  at::globalContext().setDeterministicAlgorithms(true, /*warn_only=*/false);
  at::globalContext().setDeterministicFillUninitializedMemory(false);
}

FixedOrderAttention::~FixedOrderAttention() {
  at::globalContext().setDeterministicAlgorithms(deterministic_, warn_only_);
  at::globalContext().setDeterministicFillUninitializedMemory(fills_memory_);
}

}  // namespace spq::model
