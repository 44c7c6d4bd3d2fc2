#include "model/sharded_perplexity.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/error.h"
#include "dist/collectives.h"
#include "model/sharded_batches.h"

namespace spq::model {
namespace {

void put_in_front(int64_t bos_id, std::vector<at::Tensor>& batches) {
  for (at::Tensor& ids : batches) {
    ids = at::cat({at::full({ids.size(0), 1}, bos_id, ids.options()), ids}, 1);
  }
}

}  // namespace

double perplexity(dist::Communicator& comm, const Network& network, WeightSource& weights,
                  const data::TokenFile& tokens, const PerplexityOptions& options) {
  const bool with_bos = options.bos_id >= 0;
  const int64_t text_length = with_bos ? options.length - 1 : options.length;
  const int64_t available = tokens.size() / text_length;
  const int64_t count = options.max_sequences > 0 ? std::min(options.max_sequences, available) : available;
  check(count > 0, "{}: {} tokens are fewer than one sequence of {}", tokens.path().string(), tokens.size(),
        text_length);
  std::vector<int64_t> sequences(static_cast<size_t>(count));
  std::iota(sequences.begin(), sequences.end(), 0);
  double loss_sum = 0;
  std::vector<at::Tensor> batches;
  dist::collectively(comm, [&] {
    batches = rank_micro_batches(tokens, sequences, text_length, options.micro_batch,
                                 network.config.vocab_size, comm.rank(), comm.world_size());
    if (with_bos) put_in_front(options.bos_id, batches);
  });
  for (const at::Tensor& ids : batches) {
    loss_sum += forward_loss(network, weights, ids).loss_sum();
  }
  at::Tensor total = at::tensor({loss_sum}, at::kDouble);
  dist::all_reduce_sum(comm, total);
  const double loss = total.item<double>() / static_cast<double>(count * (options.length - 1));
  if (!std::isfinite(loss)) {
    throw AgreedError(fmt::format("{}: the held-out loss is {}: the model's numbers overflow or are damaged",
                                  tokens.path().string(), loss));
  }
  return std::exp(loss);
}

}  // namespace spq::model
