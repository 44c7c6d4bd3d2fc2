// A rank's part of a global list of sequences, as micro-batches.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "data/token_file.h"

namespace spq::model {

/// Sequences (windows of `length` tokens, by index into the file) split over the ranks as evenly as possible,
/// each rank's part cut into micro-batches int64 [<= micro_batch, length]. Every rank gets the same number of
/// micro-batches, because each one is a walk over the sharded weights that all ranks take together: ranks
/// with fewer sequences get empty ones [0, length] last. Error on an id not below vocab_limit.
std::vector<at::Tensor> rank_micro_batches(const data::TokenFile& tokens,
                                           const std::vector<int64_t>& sequences, int64_t length,
                                           int64_t micro_batch, int64_t vocab_limit, int rank,
                                           int world_size);

}  // namespace spq::model
