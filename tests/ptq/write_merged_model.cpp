// Merges random rotations into SOURCE and writes the model to OUT, for check_merged.py.
#include "tests/ptq/merged_model.h"

int main(int count, char** arguments) {
  if (count != 3) return 2;
  const auto config = spq::data::read_llama_config(arguments[1]);
  spq::test::merge_model(arguments[1], arguments[2], {.rotations = spq::test::random_rotations(config, 5)});
  return 0;
}
