// Which training sequences a step sees: a function of the seed and the position alone.
#pragma once

#include <cstdint>
#include <vector>

namespace spq::trainer {

/// The endless order of training sequences: epoch after epoch over 0..num_sequences-1, in document order or
/// shuffled anew in each epoch.
class DataOrder {
 public:
  /// Error when num_sequences < 1.
  DataOrder(int64_t num_sequences, bool shuffle, int64_t seed);
  /// The sequences at positions [begin, begin + count) of the order.
  std::vector<int64_t> sequences(int64_t begin, int64_t count) const;

 private:
  std::vector<int64_t> epoch_order(int64_t epoch) const;

  int64_t num_sequences_;
  bool shuffle_;
  int64_t seed_;
};

}  // namespace spq::trainer
