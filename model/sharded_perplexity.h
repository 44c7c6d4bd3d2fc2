// Perplexity of a network over the windows of a token file, split over the ranks.
#pragma once

#include "data/token_file.h"
#include "dist/communicator.h"
#include "model/network.h"
#include "model/weights.h"

namespace spq::model {

struct PerplexityOptions {
  int64_t length;         // tokens per window, BOS included; windows do not overlap, the tail is dropped
  int64_t max_sequences;  // windows to use from the start of the file; 0: all
  int64_t micro_batch;
  int64_t bos_id = -1;  // token in front of every window; -1: none
};

/// exp(mean next-token loss) over the windows, split over the ranks. Without BOS the first token of a window
/// is not predicted; with BOS every token of the text is, and a window holds length - 1 of them. Same value
/// on every rank. AgreedError naming the token file when the loss is not finite.
double perplexity(dist::Communicator& comm, const Network& network, WeightSource& weights,
                  const data::TokenFile& tokens, const PerplexityOptions& options);

}  // namespace spq::model
