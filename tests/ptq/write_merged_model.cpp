// Merges random rotations into SOURCE and writes the model to OUT in small shards, for check_merged.py.
#include "ptq/merge.h"
#include "tests/ptq/merged_model.h"

int main(int count, char** arguments) {
  if (count != 3) return 2;
  spq::ptq::MergeOptions options;
  options.rotations = spq::test::random_rotations(spq::data::read_llama_config(arguments[1]), 5);
  options.max_shard_bytes = 40'000;
  spq::ptq::merge_model(arguments[1], arguments[2], options);
  return 0;
}
