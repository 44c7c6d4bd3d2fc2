#include "trainer/data_order.h"

#include <numeric>
#include <random>
#include <utility>

#include "core/error.h"

namespace spq::trainer {

DataOrder::DataOrder(int64_t num_sequences, bool shuffle, int64_t seed)
    : num_sequences_(num_sequences), shuffle_(shuffle), seed_(seed) {
  check(num_sequences >= 1, "no training sequence: the token file is shorter than one sequence");
}

// Fisher-Yates with the engine's raw numbers: the standard fixes those, but not its distributions.
std::vector<int64_t> DataOrder::epoch_order(int64_t epoch) const {
  std::vector<int64_t> order(static_cast<size_t>(num_sequences_));
  std::iota(order.begin(), order.end(), 0);
  if (!shuffle_) return order;
  std::seed_seq sequence{static_cast<uint32_t>(seed_),
                         static_cast<uint32_t>(static_cast<uint64_t>(seed_) >> 32),
                         static_cast<uint32_t>(epoch)};
  std::mt19937_64 engine(sequence);
  for (size_t i = order.size() - 1; i > 0; --i) std::swap(order[i], order[engine() % (i + 1)]);
  return order;
}

std::vector<int64_t> DataOrder::sequences(int64_t begin, int64_t count) const {
  std::vector<int64_t> result;
  std::vector<int64_t> order;
  int64_t known_epoch = -1;
  for (int64_t position = begin; position < begin + count; ++position) {
    if (const int64_t epoch = position / num_sequences_; epoch != known_epoch) {
      order = epoch_order(epoch);
      known_epoch = epoch;
    }
    result.push_back(order[static_cast<size_t>(position % num_sequences_)]);
  }
  return result;
}

}  // namespace spq::trainer
