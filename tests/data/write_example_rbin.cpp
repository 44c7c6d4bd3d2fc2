// Writes the R.bin that check_rbin.py expects to the path given.
#include <ATen/ops/arange.h>

#include "data/rotation_file.h"

namespace {

at::Tensor counting(int64_t size, double start) {
  return at::arange(size * size, at::TensorOptions(at::kFloat)).view({size, size}).add(start);
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 2) return 2;
  // A view into a larger tensor, and a transposed one: neither may show in the file.
  const at::Tensor larger = counting(4, 0.25).repeat({2, 1}).narrow(0, 4, 4);
  const at::Tensor transposed = counting(4, 100.25).t().contiguous().t();
  spq::data::write_rbin(arguments[1], {counting(8, -31.5), {larger, transposed}});
  return 0;
}
