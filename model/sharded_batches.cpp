#include "model/sharded_batches.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/stack.h>

#include <algorithm>

#include "dist/shard.h"

namespace spq::model {

std::vector<at::Tensor> rank_micro_batches(const data::TokenFile& tokens,
                                           const std::vector<int64_t>& sequences, int64_t length,
                                           int64_t micro_batch, int64_t vocab_limit, int rank,
                                           int world_size) {
  const dist::RowPartition part(static_cast<int64_t>(sequences.size()), world_size);
  const int64_t most = part.count(0);  // no rank has more than the first
  std::vector<at::Tensor> batches;
  for (int64_t begin = 0; begin < most; begin += micro_batch) {
    std::vector<at::Tensor> rows;
    const int64_t end = std::min(begin + micro_batch, part.count(rank));
    for (int64_t i = begin; i < end; ++i) {
      const int64_t sequence = sequences[static_cast<size_t>(part.begin(rank) + i)];
      rows.push_back(tokens.read(sequence * length, length, vocab_limit));
    }
    batches.push_back(rows.empty() ? at::empty({0, length}, at::kLong) : at::stack(rows));
  }
  return batches;
}

}  // namespace spq::model
