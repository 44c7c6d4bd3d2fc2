// How long a training step takes, from sizes and the rates of a device.
#pragma once

#include <cstdint>

#include "data/llama_config.h"
#include "trainer/config.h"
#include "trainer/devices.h"
#include "trainer/memory_plan.h"

namespace spq::trainer {

/// One step of the rank with the most sequences.
struct TimePlan {
  int64_t tokens = 0;  // of this rank
  int64_t walks = 0;   // over the layers, up and down: micro-batches

  double product_flops = 0;    // of projections, head and R1, forward and backward, without what is repeated
  double recompute_flops = 0;  // of forward passes done again
  double attention_flops = 0;  // all of it
  double update_flops = 0;     // fp32, in the Cayley step
  double element_bytes = 0;    // read and written outside of products
  double gathered_bytes = 0;   // of weights, received by this rank
  double reduced_bytes = 0;    // of moments, received by this rank

  double products = 0;         // seconds, recomputed ones included
  double attention = 0;        // seconds
  double elements = 0;         // seconds
  double gathers = 0;          // seconds they take in all,
  double exposed_gathers = 0;  // and those in which this rank only waits for one
  double reduction = 0;        // seconds
  double update = 0;           // seconds

  double compute() const { return products + attention + elements; }
  double step() const { return compute() + exposed_gathers + reduction + update; }
  /// The largest part of the step, in words.
  const char* bound() const;
};

/// `keep_activations`: as the memory plan chose. Each gather runs while the unit before it is computed.
TimePlan plan_time(const data::LlamaConfig& model, const Config& config, const ElementSizes& bytes,
                   const Placement& placement, const Device& device, bool keep_activations);

}  // namespace spq::trainer
