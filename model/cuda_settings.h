// How exact and how repeatable LibTorch's own operators are on a GPU. They read process-wide settings.
#pragma once

namespace spq::model {

/// fp32 products are fp32 products (no TF32), and partial sums of bf16 and fp16 products stay fp32. For the
/// rest of the process, whatever the environment says; call it before computing on a GPU.
void use_exact_cuda_products();

/// While one lives, attention's backward pass on a GPU adds in a fixed order instead of with atomics. Not for
/// matrix products: LibTorch would then insist on an environment variable of cuBLAS, although one stream with
/// a workspace of its own repeats its bits without.
class FixedOrderAttention {
 public:
  FixedOrderAttention();
  ~FixedOrderAttention();
  FixedOrderAttention(const FixedOrderAttention&) = delete;
  FixedOrderAttention& operator=(const FixedOrderAttention&) = delete;

 private:
  bool deterministic_, warn_only_, fills_memory_;  // as they were
};

}  // namespace spq::model
