#include "trainer/heldout.h"

#include <ATen/ops/tensor.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/error.h"
#include "dist/collectives.h"
#include "trainer/batches.h"

namespace spq::trainer {

double heldout_perplexity(dist::Communicator& comm, const model::Network& network,
                          model::WeightSource& weights, const data::TokenFile& tokens,
                          const HeldoutOptions& options) {
  const int64_t available = tokens.size() / options.length;
  const int64_t count = options.max_sequences > 0 ? std::min(options.max_sequences, available) : available;
  check(count > 0, "{}: {} tokens are fewer than one sequence of {}", tokens.path().string(), tokens.size(),
        options.length);
  std::vector<int64_t> sequences(static_cast<size_t>(count));
  std::iota(sequences.begin(), sequences.end(), 0);
  double loss_sum = 0;
  for (const at::Tensor& ids :
       rank_micro_batches(tokens, sequences, options.length, options.micro_batch, network.config.vocab_size,
                          comm.rank(), comm.world_size())) {
    loss_sum += model::forward_loss(network, weights, ids).loss_sum;
  }
  at::Tensor total = at::tensor({loss_sum}, at::kDouble);
  dist::all_reduce_sum(comm, total);
  return std::exp(total.item<double>() / static_cast<double>(count * (options.length - 1)));
}

}  // namespace spq::trainer
