#include "tests/model/block_device.h"

#include <stdexcept>

#include "model/device.h"
#include "model/rows.h"

namespace spq {
namespace {

struct State {
  bool through_blocks = false;
  int64_t uses = 0;
};

State& state() {
  static State s;
  return s;
}

}  // namespace

namespace test {

ThroughBlocks::ThroughBlocks() {
  state() = {true, 0};
}
ThroughBlocks::~ThroughBlocks() {
  state() = {};
}
int64_t ThroughBlocks::uses() const {
  return state().uses;
}

}  // namespace test

namespace model {

std::optional<kernels::BlockTarget> block_target(const at::Tensor&) {
  if (!state().through_blocks) return std::nullopt;
  ++state().uses;
  return kernels::BlockTarget::host();
}

void for_rows(int64_t rows, int64_t, const std::function<void(int64_t, int64_t)>& body) {
  if (state().through_blocks) throw std::logic_error("a row loop of the CPU's kernels, not of the GPU's");
  body(0, rows);
}

void for_tasks(int64_t tasks, const std::function<void(int64_t, int64_t)>& body) {
  body(0, tasks);
}

}  // namespace model
}  // namespace spq
