#include "dist/backoff.h"

#include <algorithm>
#include <thread>

namespace spq::dist {

void Backoff::pause() {
  using std::chrono::microseconds;
  constexpr microseconds kSpin{20};
  constexpr microseconds kYield{500};
  constexpr microseconds kLongest{1000};
  const auto so_far = std::chrono::duration_cast<microseconds>(waited());
  if (so_far < kSpin) return;
  if (pace_ == Pace::kEager) {
    // Not every time: asking has moved data, and the library yields itself when it found nothing to move.
    if (++num_pauses_ % 16 == 0) std::this_thread::yield();
    return;
  }
  if (so_far < kYield) {
    std::this_thread::yield();
    return;
  }
  std::this_thread::sleep_for(std::min(so_far / 16, kLongest));
}

}  // namespace spq::dist
