// Held-out perplexity of the quantized network.
#pragma once

#include "data/token_file.h"
#include "dist/communicator.h"
#include "model/network.h"
#include "model/weights.h"

namespace spq::trainer {

struct HeldoutOptions {
  int64_t length;         // tokens per window; windows do not overlap, the tail is dropped
  int64_t max_sequences;  // windows to use from the start of the file; 0: all
  int64_t micro_batch;
};

/// exp(mean next-token loss) over the windows, split over the ranks. Same value on every rank. AgreedError
/// naming the token file when the loss is not finite.
double heldout_perplexity(dist::Communicator& comm, const model::Network& network,
                          model::WeightSource& weights, const data::TokenFile& tokens,
                          const HeldoutOptions& options);

}  // namespace spq::trainer
