// The least time of something that is done several times in turn with other things.
#pragma once

#include <algorithm>
#include <chrono>
#include <limits>

namespace spq::bench {

class LeastTime {
 public:
  template <class Body>
  void time(const Body& body) {
    const auto start = std::chrono::steady_clock::now();
    body();
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    least_ = std::min(least_, seconds.count());
  }
  double seconds() const { return least_; }

 private:
  double least_ = std::numeric_limits<double>::infinity();
};

}  // namespace spq::bench
