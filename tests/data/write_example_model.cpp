// Writes a model directory of two shards into the folder given, for check_safetensors.py.
#include <ATen/ops/arange.h>

#include <fstream>

#include "data/model_writer.h"

namespace {

at::Tensor counting(at::ScalarType dtype, std::vector<int64_t> shape) {
  int64_t count = 1;
  for (const int64_t size : shape) count *= size;
  return at::arange(count, at::TensorOptions(at::kFloat)).sub(5).view(shape).to(dtype);
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 2) return 2;
  const std::filesystem::path folder = arguments[1];
  std::filesystem::create_directory(folder / "source");
  std::ofstream(folder / "source" / "config.json") << R"({"model_type": "llama"})";
  const spq::data::ModelWriter::ShardSpec tensors = {
      {"f32", at::kFloat, {3, 5}},  {"f16", at::kHalf, {7}}, {"f64", at::kDouble, {2}},
      {"i64", at::kLong, {1, 4}},   {"i8", at::kChar, {11}}, {"bf16", at::kBFloat16, {9}},
      {"empty", at::kFloat, {0, 2}}};
  const auto half = tensors.begin() + 3;
  spq::data::ModelWriter writer(folder / "source", folder / "model",
                                {{tensors.begin(), half}, {half, tensors.end()}}, "example: 1\n");
  for (const auto& t : tensors) writer.write(t.name, counting(t.dtype, t.shape));
  writer.finish();
  return 0;
}
