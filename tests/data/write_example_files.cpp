// Writes R.bin and checkpoint-40.h5 into the folder given, for check_rbin.py and check_checkpoint.py.
#include <ATen/ops/arange.h>

#include "data/checkpoint.h"
#include "data/rotation_file.h"
#include "examples.h"

namespace {

at::Tensor counting(int64_t size, double start) {
  return at::arange(size * size, at::TensorOptions(at::kFloat)).view({size, size}).add(start);
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 2) return 2;
  const std::filesystem::path folder = arguments[1];
  // A view into a larger tensor, and a transposed one: neither may show in the file.
  const at::Tensor larger = counting(4, 0.25).repeat({2, 1}).narrow(0, 4, 4);
  const at::Tensor transposed = counting(4, 100.25).t().contiguous().t();
  spq::data::write_rbin(folder / "R.bin", {counting(8, -31.5), {larger, transposed}});
  spq::data::write_checkpoint(folder / "checkpoint-40.h5", spq::data::example_checkpoint());
  return 0;
}
