#include "trainer/schedule.h"

#include <cmath>
#include <numbers>

#include "core/error.h"

namespace spq::trainer {

double learning_rate_at(const OptimizerConfig& config, int64_t step) {
  const double done = static_cast<double>(step) / static_cast<double>(config.steps);
  switch (config.schedule) {
    case Schedule::kCosine:
      return config.learning_rate * (1.0 + std::cos(std::numbers::pi * done)) / 2.0;
    case Schedule::kLinear:
      return config.learning_rate * (1.0 - done);
    case Schedule::kConstant:
      return config.learning_rate;
  }
  fail("unknown schedule");
}

}  // namespace spq::trainer
